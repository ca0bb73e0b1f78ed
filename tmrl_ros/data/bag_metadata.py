"""What rosbag2's metadata.yaml says of a bag: its files, its topics and how many messages there are of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FOREVER = {"sec": 9223372036, "nsec": 854775807}


@dataclass(slots=True)
class TopicFacts:
    name: str
    type_name: str
    type_hash: str
    latched: bool
    count: int = 0  # messages, in all files


@dataclass(slots=True)
class FileFacts:
    name: str
    span_ns: tuple[int, int] | None = None  # first and last stamp; None: no message
    count: int = 0
    size_bytes: int = 0

    def add(self, stamp_ns: int) -> None:
        """Count one message."""
        first_ns, last_ns = self.span_ns or (stamp_ns, stamp_ns)
        self.span_ns = min(first_ns, stamp_ns), max(last_ns, stamp_ns)
        self.count += 1


def information(files: Iterable[FileFacts], topics: Iterable[TopicFacts], ros_distro: str) -> dict[str, Any]:
    """The content of rosbag2_bagfile_information, version 9."""
    spans = [file.span_ns for file in files if file.span_ns] or [(0, 0)]
    return {
        "version": 9,
        "storage_identifier": "mcap",
        **_span((min(first for first, _ in spans), max(last for _, last in spans))),
        "message_count": sum(file.count for file in files),
        "topics_with_message_count": [_topic(topic) for topic in topics],
        "compression_format": "",  # of whole files or messages by rosbag2; chunks are compressed within MCAP
        "compression_mode": "",
        "relative_file_paths": [file.name for file in files],
        "files": [{"path": file.name, **_span(file.span_ns), "message_count": file.count} for file in files],
        "custom_data": {},
        "ros_distro": ros_distro,
    }


def qos_profile(latched: bool) -> dict[str, Any]:
    """An offered QoS profile, as rosbag2 writes it."""
    return {
        "history": "keep_last",
        "depth": 10,
        "reliability": "reliable",
        "durability": "transient_local" if latched else "volatile",
        "deadline": dict(FOREVER),
        "lifespan": dict(FOREVER),
        "liveliness": "automatic",
        "liveliness_lease_duration": dict(FOREVER),
        "avoid_ros_namespace_conventions": False,
    }


def _span(span_ns: tuple[int, int] | None) -> dict[str, dict[str, int]]:
    first_ns, last_ns = span_ns or (0, 0)
    return {"duration": {"nanoseconds": last_ns - first_ns}, "starting_time": {"nanoseconds_since_epoch": first_ns}}


def _topic(topic: TopicFacts) -> dict[str, Any]:
    metadata = {
        "name": topic.name,
        "type": topic.type_name,
        "serialization_format": "cdr",
        "offered_qos_profiles": [qos_profile(topic.latched)],
        "type_description_hash": topic.type_hash,
    }
    return {"topic_metadata": metadata, "message_count": topic.count}
