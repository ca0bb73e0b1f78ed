"""The simulated FR3 behind the topics of a real one.

In lockstep it publishes a tick and runs it in the callback that completes the tick's commands. Otherwise a steady
timer of the wall clock runs the ticks, and when commands cease the arm stops at the end of its last window.
"""

import time

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tmrl_ros import fr3
from tmrl_ros.config import SimConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.camera import CameraPublisher
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.trajectory import check_clock, hold

CHECK_S = 0.25  # wall time between looks for listeners, and for silence


class Sim(Node):
    def __init__(self):
        super().__init__("sim", **runtime.NODE_OPTIONS)
        config = runtime.config_of(self, SimConfig)
        self._timing = config.timing
        self._sim = SimRobot(config.task, config.timing, config.shift, config.seed)
        self._window, self._width_m, self._width_stamp_ns = hold(0, fr3.HOME_Q), 2 * fr3.FINGER_TRAVEL, 0
        self._published_at_s = None  # monotonic; None until someone listens
        self._answered = False  # by anyone, ever
        self._advertise()
        self._camera = CameraPublisher(self, self._sim, config) if config.render else None
        for topic, hear in ((topics.TRAJECTORY, self._on_window), (topics.GRIPPER_COMMAND, self._on_width)):
            topic.lossless(self._timing.waits).subscribe(self, hear)
        topics.RESET_OBJECTS.serve(self, self._on_reset_objects)
        period_s, work = CHECK_S, self._check
        if not self._timing.waits:
            period_s, work = 1 / self._timing.command_hz, self._run_tick
        self.create_timer(period_s, work, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _advertise(self):
        waits = self._timing.waits
        self._arm = topics.JOINT_STATES.lossless(waits).publisher(self)
        self._fingers = topics.GRIPPER_STATES.lossless(waits).publisher(self)
        self._pose = topics.CURRENT_POSE.lossless(waits).publisher(self)
        self._desired_pose = topics.DESIRED_POSE.lossless(waits).publisher(self)
        self._wrench = topics.WRENCH.lossless(waits).publisher(self)
        self._objects = topics.OBJECTS.lossless(waits).publisher(self)
        self._task_state = topics.TASK_STATE.lossless(waits).publisher(self)
        self._clock_publisher = topics.CLOCK.publisher(self)

    # ---- a tick ----

    def _publish_tick(self):
        """Everything of this stamp, then the clock."""
        sim = self._sim
        robot, stamp_ns = sim.robot_state(), sim.stamp_ns
        if sim.observing:
            self._fingers.publish(convert.fingers_msg(robot))
            self._pose.publish(convert.pose_msg(stamp_ns, sim.tcp_position(), sim.tcp_quaternion()))
            self._desired_pose.publish(
                convert.pose_msg(stamp_ns, sim.desired_tcp_position(), sim.desired_tcp_quaternion())
            )
            self._wrench.publish(convert.wrench_msg(robot))
            self._objects.publish(convert.objects_msg(stamp_ns, sim.observed_objects()))
            self._task_state.publish(convert.to_msg(sim.task_state()))
            if self._camera:
                self._camera.publish()
        self._arm.publish(convert.arm_msg(robot))
        if self._clock_publisher.get_subscription_count():
            self._clock_publisher.publish(convert.clock_msg(stamp_ns))
        self._published_at_s = time.monotonic()

    def _run_tick(self):
        """One tick with what was commanded, and the next one's state."""
        if self._published_at_s is not None:
            self._sim.run_tick(self._window, self._width_m)
        self._publish_tick()

    def _run_if_commanded(self):
        now_ns = self._sim.stamp_ns
        if not self._timing.waits or self._window.stamp_ns != now_ns:
            return
        if not self._sim.observing or self._width_stamp_ns == now_ns:
            self._run_tick()

    def _check(self):
        """Starts once someone listens; in silence lets time go on, so that the arm stops by itself."""
        if not self._answered and self._listened_to():
            self._publish_tick()  # again, until all have been discovered who make up an answer
        elif self._answered and time.monotonic() - self._published_at_s > self._timing.lockstep_timeout_s:
            self.get_logger().warning(
                f"no command for the tick at {self._sim.stamp_ns * 1e-9:.2f} s within "
                f"{self._timing.lockstep_timeout_s:g} s; the arm follows its last window to its end"
            )
            self._run_tick()

    def _listened_to(self) -> bool:
        heard = all(p.get_subscription_count() for p in (self._arm, self._task_state))
        seen = self._objects.get_subscription_count() or (self._camera and self._camera.watched())
        return heard and seen and self.count_publishers(topics.TRAJECTORY.name) > 0

    # ---- what comes in ----

    def _on_window(self, message):
        try:
            window = convert.from_msg(message)
            if not self._timing.waits:
                check_clock(window, self._sim.stamp_ns)
        except ActionError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        if window.stamp_ns > self._window.stamp_ns:  # an older or repeated one must not undo a newer
            self._window, self._answered = window, True
            self._run_if_commanded()

    def _on_width(self, message):
        try:
            self._width_m = convert.width_from(message)
        except ActionError as error:
            self.get_logger().error(str(error))
            return
        self._width_stamp_ns = convert.stamp_of(message)
        self._run_if_commanded()

    def _on_reset_objects(self, request, response):
        self._sim.reset_objects(request.stream, request.episode)
        response.ok = True
        return response


def main():
    runtime.run(Sim)
