"""The person's wishes, as one Joy for each observation, with its stamp: from a script or from a device in their hands.

A device that is lost falls silent here, and the supervisor holds. `joy` is a driver that already publishes our layout
(nodes/convert.py): it needs no node.
"""

import time
from functools import partial

from rclpy.node import Node
from sensor_msgs.msg import Joy

from tmrl_ros.config import TeleopConfig
from tmrl_ros.errors import ActionError, ConfigError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.perception.join import StampJoin
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.teleop import keyboard
from tmrl_ros.teleop.mapping import MappedDevice

SOURCES = {  # name: (topic, conversion)
    "task": (topics.TASK_STATE, convert.from_msg),
    "tcp": (topics.CURRENT_POSE, convert.position_of),
    "width": (topics.GRIPPER_STATES, convert.fingers_width),
}
DRIVERS = {  # device: what its driver publishes; joy_node with `-r joy:=gamepad/joy`
    "spacenav": topics.Topic("spacenav/joy", Joy),
    "gamepad": topics.Topic("gamepad/joy", Joy),
}


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
        else:
            self._device = MappedDevice(getattr(self.config, name), self.config.lost_s)
            DRIVERS[name].subscribe(self, self._on_driver)
        topics.OBSERVATION.lossless(self._waits).subscribe(self, self._on_observation)
        topics.EPISODE_EVENT.subscribe(self, self._on_event)

    def _on_driver(self, message):
        try:
            self._device.hear(message.axes, message.buttons, time.monotonic())
        except ActionError as error:  # not heard, so in a moment it counts as lost
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _on_observation(self, message):
        wish = self._device.command(convert.stamp_of(message), time.monotonic())
        if wish is None:
            return self.get_logger().warning(f"the {self.config.device} is lost", throttle_duration_sec=5.0)
        return self._publisher.publish(convert.to_msg(wish))

    def _on_event(self, message):
        if message.kind == "ended":
            self._device.presses.episode_ended()

    def close(self):
        """Called last by runtime.run: the terminal gets its echo back."""
        if hasattr(self._device, "close"):
            self._device.close()


def main():
    runtime.run(Teleop)
