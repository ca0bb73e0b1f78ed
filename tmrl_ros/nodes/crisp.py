"""Drives CRISP's compliant controllers, for tasks with contact, in place of joint_trajectory_controller.

CRISP follows a single target and knows no silence, so this node runs each window of the supervisor itself: it streams
where the window is now, and at its end goes on saying where that is. The supervisor, or this node, may die: the arm
then stands. Windows are timed by the robot's clock, which this machine's has to agree with (`tmrl preflight`). The hand
is the node franka's (`hand: crisp`).
"""

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState

from tmrl_ros import kinematics
from tmrl_ros.config import CrispConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.robot import trajectory

NEWEST = QoSProfile(depth=1)
AHEAD_NS = 100_000_000  # of the clock: so far no window is stamped in time
TARGET_JOINT = topics.Topic("target_joint", JointState, NEWEST)
TARGET_POSE = topics.Topic("target_pose", PoseStamped, NEWEST)


class Crisp(Node):
    def __init__(self):
        super().__init__("crisp", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, CrispConfig)
        self._window = self._q = None  # and the last target
        self._targets = (TARGET_JOINT if self.config.target == "joint" else TARGET_POSE).publisher(self)
        topics.TRAJECTORY.subscribe(self, self._on_window)
        self.create_timer(1 / self.config.stream_hz, self._stream, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_window(self, message):
        now_ns = self.get_clock().now().nanoseconds
        try:
            window = convert.from_msg(message)
            trajectory.check_clock(window, now_ns)
        except ActionError as error:
            return self.get_logger().error(str(error), throttle_duration_sec=1.0)
        if self._window is None or window.stamp_ns > self._window.stamp_ns or self._is_of_before(now_ns):
            self._window = window
        return None

    def _is_of_before(self, now_ns: int) -> bool:
        """The window is far in the future: the clock was set back since it came."""
        return self._window.stamp_ns - now_ns > AHEAD_NS

    def _stream(self):
        if self._window is None:
            return
        now_ns = self.get_clock().now().nanoseconds
        if self._q is not None and self._is_of_before(now_ns):
            dq = np.zeros(7)  # stand until a window of the new clock comes
        else:
            (self._q,), (dq,) = trajectory.evaluate(self._window, np.array([(now_ns - self._window.stamp_ns) * 1e-9]))
        if self.config.target == "joint":
            self._targets.publish(convert.joint_target_msg(now_ns, self._q, dq))
            return
        position_m, rotation = kinematics.forward(self._q)
        self._targets.publish(convert.pose_msg(now_ns, position_m, Rotation.from_matrix(rotation).as_quat()))


def main():
    runtime.run(Crisp)
