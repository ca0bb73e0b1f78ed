"""Joins poses, gripper and objects of one stamp, or cameras and the robot, into the Observation of that stamp."""

from functools import partial

from rclpy.node import Node

from tmrl_ros.config import PerceptionConfig
from tmrl_ros.errors import DataError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.perception.join import StampJoin
from tmrl_ros.perception.state import state_observation

TOLERANCE_NS = 50_000_000  # on a robot, sources have clocks of their own
SOURCES = {  # name: (topic, conversion)
    "objects": (topics.OBJECTS, convert.objects_from),
    "tcp": (topics.CURRENT_POSE, convert.position_of),
    "desired_tcp": (topics.DESIRED_POSE, convert.position_of),
    "width": (topics.GRIPPER_STATES, convert.fingers_width),
}


class Perception(Node):
    def __init__(self):
        super().__init__("perception", **runtime.NODE_OPTIONS)
        config = runtime.config_of(self, PerceptionConfig)
        if config.cameras:
            from tmrl_ros.nodes.camera_perception import CameraPerception  # OpenCV and SciPy load with it

            self._cameras = CameraPerception(self, config)
        else:
            self._listen_to_objects(config.timing.waits)

    def _listen_to_objects(self, waits):
        self._join = StampJoin(SOURCES, 0 if waits else TOLERANCE_NS)
        self._publisher = topics.OBSERVATION.lossless(waits).publisher(self)
        for name, (topic, value_of) in SOURCES.items():
            topic.sensed(waits).subscribe(self, partial(self._on_source, name, value_of))

    def _on_source(self, name, value_of, message):
        try:
            joined = self._join.add(name, convert.stamp_of(message), value_of(message))
        except DataError as error:  # the frame is dropped: whoever needs its observation sees the silence
            self.get_logger().error(f"{name}: {error}", throttle_duration_sec=1.0)
            return
        if joined:
            stamp_ns, v = joined
            observation = state_observation(stamp_ns, v["tcp"], v["width"], v["objects"], v["desired_tcp"])
            self._publisher.publish(convert.to_msg(observation))
        elif missing := self._join.missing():
            self.get_logger().warning(
                f"no observation: nothing of this time from {', '.join(missing)}", throttle_duration_sec=1.0
            )


def main():
    runtime.run(Perception)
