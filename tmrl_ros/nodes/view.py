"""Hears what perception sees and what the supervisor decides, for `tmrl view`; says nothing on any topic of a session.

A session must not feel it. It subscribes best effort and volatile: no writer waits for it, sends anything again, or
keeps anything for it. It has no executor: the middleware keeps the newest few messages of each topic (QUEUES) and drops
the others unread, and `take` fetches those when somebody wants to look.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from tmrl_ros.errors import DataError
from tmrl_ros.nodes import convert, robot_values, topics
from tmrl_ros.nodes.camera_topics import camera_topics
from tmrl_ros.nodes.runtime import use_loopback

# Messages kept between two looks. An observation comes later than its images, which therefore have to last longer.
OBSERVATIONS, IMAGES, OTHERS = 4, 8, 100
RECORDS = {  # in the order in which they are taken: observations first, so that their images are there
    "observation": (topics.OBSERVATION, OBSERVATIONS),
    "decision": (topics.DECISION, OTHERS),
    "episode": (topics.EPISODE_EVENT, OTHERS),
    "status": (topics.SESSION_STATUS, OTHERS),
}


class Heard(NamedTuple):
    """One message: `value` is a record of types.py, an image ("NAME/color", "NAME/depth") or a value of the robot."""

    stream: str
    stamp_ns: int
    value: Any


class Ears:
    """`cameras` gives the beginning of each camera's topics by name; `problems` what was refused, by stream."""

    def __init__(self, cameras: Mapping[str, str], namespace: str = ""):
        use_loopback(os.environ)
        self.problems: dict[str, str] = {}
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node(
            f"view_{os.getpid()}",
            context=self._context,
            namespace=namespace,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._streams, self._was_there = {}, False
        for stream, (topic, depth) in RECORDS.items():
            self._hear(stream, topic, depth, convert.from_msg)
        for source in ("tcp", "objects"):
            topic, value_of = robot_values.SOURCES[source]
            self._hear(source, topic, OTHERS, value_of)
        for camera, prefix in cameras.items():
            image_topics = camera_topics(prefix)
            self._hear(f"{camera}/color", image_topics.color, IMAGES, convert.image_from)
            self._hear(f"{camera}/depth", image_topics.depth, IMAGES, convert.image_from)

    def take(self) -> list[Heard]:
        """What came since the last call and was kept, by stream and then as it came; never waits."""
        return [heard for stream in self._streams for heard in self._taken(stream)]

    def deserted(self) -> bool:
        """Whether the session's supervisor, or the player of its bag, was there and is gone."""
        there = self._node.count_publishers(topics.SESSION_STATUS.name) > 0
        self._was_there |= there
        return self._was_there and not there

    def close(self) -> None:
        self._node.destroy_node()
        self._context.try_shutdown()

    def _hear(self, stream, topic, depth, value_of):
        newest = QoSProfile(
            depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
        )
        subscription = topic._replace(qos=newest).subscribe(self._node, lambda message: None)
        self._streams[stream] = (subscription, depth, value_of)

    def _taken(self, stream):
        subscription, depth, value_of = self._streams[stream]
        for _ in range(depth):  # more may come meanwhile: that is for the next look
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, False)
            if taken is None:
                return
            try:
                heard = Heard(stream, convert.stamp_of(taken[0]), value_of(taken[0]))
            except DataError as error:
                self.problems[stream] = str(error)
            else:
                self.problems.pop(stream, None)
                yield heard
