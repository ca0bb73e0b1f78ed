"""What a calibration needs of a bag or of live topics: images, intrinsics and poses of the hand as they come."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from tmrl_ros.data import bag
from tmrl_ros.errors import DataError
from tmrl_ros.nodes import convert, topics
from tmrl_ros.nodes.camera_topics import camera_topics, intrinsics_from
from tmrl_ros.nodes.robot_values import pose_from
from tmrl_ros.nodes.runtime import make_executor, use_loopback
from tmrl_ros.nodes.topics import Topic

SILENCE_S = 10.0  # of a live topic, after which waiting is given up
Kind = Literal["image", "lens", "pose"]


class Heard(NamedTuple):
    kind: Kind
    stamp_ns: int
    value: Any  # uint8 [height, width, 3] rgb, Intrinsics, or base_from_gripper [4, 4]


CONVERSIONS = {"image": convert.image_from, "lens": intrinsics_from, "pose": pose_from}


def sources(prefix: str, pose_topic: str) -> dict[Kind, Topic]:
    """`prefix` begins the camera's topics, such as camera/front; an empty pose_topic is franka_ros2's."""
    camera = camera_topics(prefix)
    pose = topics.CURRENT_POSE._replace(name=pose_topic) if pose_topic else topics.CURRENT_POSE
    return {"image": camera.color, "lens": camera.info, "pose": pose}


def from_bag(path: Path, wanted: dict[Kind, Topic]) -> Iterator[Heard]:
    """What a bag holds of the wanted topics, in any namespace, in the order it was recorded; DataError without one."""
    types = {f"{t.type.__module__.split('.')[0]}/msg/{t.type.__name__}" for t in wanted.values()}
    found, there = set(), set()
    for message in bag.read(path, types):
        there.add(message.topic)
        for kind, topic in wanted.items():
            if f"/{message.topic}".endswith(f"/{topic.name.lstrip('/')}"):
                found.add(kind)
                yield _heard(kind, _message(message, topic.type))
    for kind, topic in wanted.items():
        if kind not in found:
            raise DataError(
                f"bag {path} has no {topic.name}; of such types it has {', '.join(sorted(there)) or 'none'}: name the "
                "beginning of the camera's topics with --topic, or record again"
            )


def live(wanted: dict[Kind, Topic]) -> Iterator[Heard]:
    """The same as it is published, without an end; DataError where a topic is silent for SILENCE_S."""
    use_loopback(os.environ)
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is the caller's
    node = Node("calibrate", context=context, start_parameter_services=False)
    executor = make_executor(context)
    executor.add_node(node)
    waiting: list[tuple[Kind, Any]] = []
    heard_s = dict.fromkeys(wanted, time.monotonic())
    for kind, topic in wanted.items():
        topic.sensed(False).subscribe(node, lambda message, kind=kind: waiting.append((kind, message)))
    try:
        while True:
            executor.spin_once(timeout_sec=0.1)
            while waiting:
                kind, message = waiting.pop(0)
                heard_s[kind] = time.monotonic()
                yield _heard(kind, message)
            for kind, last_s in heard_s.items():
                if time.monotonic() - last_s > SILENCE_S:
                    name = wanted[kind].name
                    raise DataError(f"nothing on {name} for {SILENCE_S:g} s; start its driver, or name it (--help)")
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def _message(recorded: bag.BagMessage, kind: type):
    try:
        return deserialize_message(recorded.data, kind)
    except Exception as error:  # rclpy raises what its middleware does
        raise DataError(f"a message on {recorded.topic} cannot be read ({error}); record again") from None


def _heard(kind, message) -> Heard:
    return Heard(kind, convert.stamp_of(message), CONVERSIONS[kind](message))
