"""Which topics can be recorded, and what their names mean."""

import importlib
from collections.abc import Iterable

from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import topics
from tmrl_ros.nodes.camera_topics import camera_topics
from tmrl_ros.nodes.topics import Topic

KNOWN = {entry.name: entry for entry in vars(topics).values() if isinstance(entry, Topic)}
CAMERA = {topic.name: topic.type for topic in camera_topics("")}  # endings of names, whatever the camera is called
ALL, TYPED = "all", ":="
DEPTH = 2000  # messages a topic holds while the disk is slow
IMAGE_DEPTH = 90  # the same of images: 3 s, and 80 MB at 640x480


def recordable(names: Iterable[str]) -> list[Topic]:
    """The topics of these names, each once, as deep as a recorder needs them; ConfigError names one that is none."""
    wanted = [name for given in names for name in (KNOWN if given == ALL else (given,))]
    return [_deep(_topic(name)) for name in dict.fromkeys(wanted)]


def type_name(topic: Topic) -> str:
    """Such as sensor_msgs/msg/Image."""
    return f"{topic.type.__module__.split('.')[0]}/msg/{topic.type.__name__}"


def _topic(name: str) -> Topic:
    if name in KNOWN:
        return KNOWN[name]
    name, typed, kind = name.partition(TYPED)
    if typed:
        return Topic(name, _type(name, kind))
    for ending, camera_type in CAMERA.items():
        if name.endswith(ending) and name != ending:
            return Topic(name, camera_type)
    raise ConfigError(
        f"topics: {name} cannot be recorded; valid: {', '.join(sorted(KNOWN))}, a camera's such as camera/front"
        f"{next(iter(CAMERA))}, NAME:=package/msg/Type, or all"
    )


def _type(name: str, kind: str) -> type:
    package, _, message = kind.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), message)
    except (ImportError, AttributeError, ValueError, TypeError):
        raise ConfigError(
            f"topics: {name} is to be a {kind!r}, which is not installed; give package/msg/Type, such as "
            "sensor_msgs/msg/JointState"
        ) from None


def _deep(topic: Topic) -> Topic:
    depth = IMAGE_DEPTH if topic.type is Image else DEPTH
    return topic._replace(qos=QoSProfile(depth=depth, durability=topic.qos.durability))
