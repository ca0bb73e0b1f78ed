"""The person's wishes, as one Joy for each observation, with its stamp: from a script or from a device in their hands.

A device that is lost falls silent here, and the supervisor holds. `joy` is a driver that already publishes our layout
(nodes/convert.py): it needs no node.
"""

import time
from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float32

from tmrl_ros import fr3
from tmrl_ros.config import TeleopConfig
from tmrl_ros.errors import ActionError, ConfigError, DataError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.robot_values import joints_from
from tmrl_ros.perception.join import StampJoin
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.teleop import keyboard
from tmrl_ros.teleop.gello import GelloDevice
from tmrl_ros.teleop.mapping import MappedDevice
from tmrl_ros.types import Mode

SOURCES = {  # name: (topic, conversion)
    "task": (topics.TASK_STATE, convert.from_msg),
    "tcp": (topics.CURRENT_POSE, convert.position_of),
    "width": (topics.GRIPPER_STATES, convert.fingers_width),
}
REPEAT_S, REPEATED_S = 0.04, 0.13  # where time is real: a wish is said again, so long, until the next observation
FOLLOWED = (Mode.POLICY, Mode.RESET)  # in which the hand is not the person's
DRIVERS = {  # device: what its driver publishes; joy_node with `-r joy:=gamepad/joy`
    "spacenav": topics.Topic("spacenav/joy", Joy),
    "gamepad": topics.Topic("gamepad/joy", Joy),
}
GELLO_JOINTS = topics.Topic("gello/joint_states", JointState)
GELLO_TRIGGER = topics.Topic("gripper/gripper_client/target_gripper_width_percent", Float32)  # a share, in [0, 1]
GELLO_BUTTONS = topics.Topic("gello/joy", Joy)  # of pedals, if there are any


class Teleop(Node):
    def __init__(self):
        super().__init__("teleop", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, TeleopConfig)
        self._device = None
        self._waits = self.config.timing.waits
        self._publisher = topics.JOY.lossless(self._waits).publisher(self)
        if self.config.device == "joy":
            raise ConfigError("device = 'joy' needs no node of ours: start joy_node of the package joy")
        if self.config.device == "script":
            self._follow_script()
        else:
            self._follow_device()

    # ---- a scripted person ----

    def _follow_script(self):
        self._script = ScriptedTeleop(self.config.task.name, self.config.seed)
        self._join = StampJoin(SOURCES)
        for name, (topic, value_of) in SOURCES.items():
            topic.lossless(self._waits).subscribe(self, partial(self._on_source, name, value_of))

    def _on_source(self, name, value_of, message):
        joined = self._join.add(name, convert.stamp_of(message), value_of(message))
        if joined:
            stamp_ns, v = joined
            wish = self._script.answer(stamp_ns, v["tcp"], v["task"].objects_m[0], v["width"], v["task"].success)
            self._publisher.publish(convert.to_msg(wish))

    # ---- a device ----

    def _follow_device(self):
        name = self.config.device
        if name == "keyboard":
            self._device = keyboard.KeyboardDevice(self.config.terminal, self.config.keyboard)
            self.get_logger().info(keyboard.HELP)
        elif name == "gello":
            self._device = GelloDevice(self.config.gello, self.config.lost_s, 1 / self.config.timing.action_hz)
            for topic, hear in self._gello_topics():
                topic.subscribe(self, partial(self._on_gello, hear))
        else:
            self._device = MappedDevice(getattr(self.config, name), self.config.lost_s)
            DRIVERS[name].subscribe(self, self._on_driver)
        topics.OBSERVATION.lossless(self._waits).subscribe(self, self._on_observation)
        topics.EPISODE_EVENT.subscribe(self, self._on_event)
        self._wish, self._said, self._said_s = None, None, 0.0
        if not self._waits:
            self.create_timer(REPEAT_S, self._repeat, clock=Clock(clock_type=ClockType.STEADY_TIME))
            if name != "gello":  # its trigger says how wide, the presses of the others what changes
                self._mode, self._widths = Mode.HOLD, None
                topics.SESSION_STATUS.subscribe(self, self._on_status)

    def _on_driver(self, message):
        try:
            self._device.hear(message.axes, message.buttons, time.monotonic())
        except ActionError as error:  # not heard, so in a moment it counts as lost
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _gello_topics(self):
        device = self._device
        return (
            (GELLO_JOINTS, lambda message, now_s: device.hear_joints(joints_from(message), now_s)),
            (GELLO_TRIGGER, lambda message, now_s: device.hear_trigger(message.data)),
            (GELLO_BUTTONS, lambda message, now_s: device.hear_buttons(message.buttons, now_s)),
        )

    def _on_gello(self, hear, message):
        try:
            hear(message, time.monotonic())
        except (ActionError, DataError) as error:  # not heard, so in a moment it counts as lost
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _on_observation(self, message):
        wish = self._device.command(convert.stamp_of(message), time.monotonic())
        self._wish, self._said, self._said_s = wish, wish and convert.to_msg(wish), time.monotonic()
        if wish is None:
            return self.get_logger().warning(f"the {self.config.device} is lost", throttle_duration_sec=5.0)
        return self._publisher.publish(self._said)

    def _repeat(self):
        """So that the supervisor need not wait for two observations to know that the device is lost."""
        if self._said and time.monotonic() - self._said_s < REPEATED_S:
            self._publisher.publish(self._said)

    def _on_status(self, message):
        self._mode = message.mode
        if self._widths is None and self._mode in FOLLOWED:  # not before: a session starts once a hand listens
            self._widths = topics.GRIPPER_COMMAND.subscribe(self, self._on_width)

    def _on_width(self, message):
        """What the hand is to do while the policy acts; once a person wants the arm, what they press counts."""
        if self._mode not in FOLLOWED or (self._wish and self._wish.clutch):
            return
        try:
            self._device.presses.follow(convert.width_from(message) < fr3.FINGER_TRAVEL)  # half of the full width
        except ActionError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _on_event(self, message):
        if message.kind == "ended":
            self._device.presses.episode_ended()

    def close(self):
        """Called last by runtime.run: the terminal gets its echo back."""
        if hasattr(self._device, "close"):
            self._device.close()


def main():
    runtime.run(Teleop)
