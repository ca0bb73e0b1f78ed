"""A scripted person at the teleoperation device: answers each observation tick with a Joy of the same stamp."""

from functools import partial

from rclpy.node import Node

from tmrl_ros.config import TeleopConfig
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.perception.join import StampJoin
from tmrl_ros.robot.teleop_script import ScriptedTeleop

SOURCES = {  # name: (topic, conversion)
    "task": (topics.TASK_STATE, convert.from_msg),
    "tcp": (topics.CURRENT_POSE, convert.position_of),
    "width": (topics.GRIPPER_STATES, convert.fingers_width),
}


class Teleop(Node):
    def __init__(self):
        super().__init__("teleop", **runtime.NODE_OPTIONS)
        config = runtime.config_of(self, TeleopConfig)
        if config.device != "script":
            raise ConfigError(f"device = {config.device!r} needs no node of ours: start joy_node of the package joy")
        self._script = ScriptedTeleop(config.task.name, config.seed)
        self._join = StampJoin(SOURCES)
        self._publisher = topics.JOY.publisher(self)
        for name, (topic, value_of) in SOURCES.items():
            topic.subscribe(self, partial(self._on_source, name, value_of))

    def _on_source(self, name, value_of, message):
        joined = self._join.add(name, convert.stamp_of(message), value_of(message))
        if joined:
            stamp_ns, v = joined
            wish = self._script.answer(stamp_ns, v["tcp"], v["task"].objects_m[0], v["width"], v["task"].success)
            self._publisher.publish(convert.to_msg(wish))


def main():
    runtime.run(Teleop)
