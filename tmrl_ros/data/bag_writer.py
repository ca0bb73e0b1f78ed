"""MCAP bags as rosbag2 writes them: folder/metadata.yaml and folder/<folder>_0.mcap, from serialised messages.

Chunks are small and flushed on demand, so a recorder that is killed loses only what came after its last flush.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import Writer

from tmrl_ros.errors import DataError

CHUNK_BYTES = 64 * 1024  # what a kill can cost; rosbag2's usual 768 KiB costs seconds of small messages
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C: 3 ms rather than 47 ms a flush
FOREVER = {"sec": 9223372036, "nsec": 854775807}


@dataclass(slots=True)
class _Topic:
    channel: int
    type_name: str
    type_hash: str
    latched: bool
    count: int = 0


class BagWriter:
    """Writes one bag; metadata.yaml is there from the start and brought up to date by every flush."""

    def __init__(self, folder: str | Path, ros_distro: str = ""):
        self.folder = Path(folder)
        self.ros_distro = ros_distro
        self._topics: dict[str, _Topic] = {}
        self._schemas: dict[str, int] = {}
        self._span_ns: tuple[int, int] | None = None
        self._file_name = f"{self.folder.name}_0.mcap"
        if self.folder.exists():
            raise DataError(f"Bag {self.folder} already exists; choose another folder or remove it")
        self.folder.mkdir(parents=True)
        self._file = (self.folder / self._file_name).open("wb")
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES)
        self._writer.start(profile="ros2", library="tmrl_ros")
        # Tells rosbag2 the version in which channels describe their QoS, even where the end of the file is lost.
        self._writer.add_metadata("rosbag2", {"serialized_metadata": yaml.safe_dump(self._information())})
        self.flush()

    def add_topic(self, topic: str, type_name: str, definition: str, type_hash="", latched=False) -> None:
        """Announce a topic before its first message; `definition` is schema.definition(type_name)."""
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(type_name, "ros2msg", definition.encode())
        metadata = {"offered_qos_profiles": yaml.safe_dump([_qos(latched)]), "topic_type_hash": type_hash}
        channel = self._writer.register_channel(topic, "cdr", self._schemas[type_name], metadata)
        self._topics[topic] = _Topic(channel, type_name, type_hash, latched)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        entry = self._topics[topic]
        self._writer.add_message(entry.channel, stamp_ns, data, stamp_ns, entry.count)
        entry.count += 1
        first, last = self._span_ns or (stamp_ns, stamp_ns)
        self._span_ns = (min(first, stamp_ns), max(last, stamp_ns))

    def flush(self) -> None:
        """Hand everything written so far to the operating system: it survives the death of this process."""
        self._writer.flush()
        text = yaml.dump({"rosbag2_bagfile_information": self._information()}, Dumper=DUMPER, sort_keys=False)
        temporary = self.folder / ".metadata.yaml.tmp"
        temporary.write_text(text)
        os.replace(temporary, self.folder / "metadata.yaml")

    def close(self) -> None:
        if self._file.closed:
            return
        self.flush()
        self._writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _information(self) -> dict[str, Any]:
        first, last = self._span_ns or (0, 0)
        count = sum(topic.count for topic in self._topics.values())
        span = {"duration": {"nanoseconds": last - first}, "starting_time": {"nanoseconds_since_epoch": first}}
        return {
            "version": 9,
            "storage_identifier": "mcap",
            **span,
            "message_count": count,
            "topics_with_message_count": [_topic_information(name, topic) for name, topic in self._topics.items()],
            "compression_format": "",  # of whole files or messages by rosbag2; chunks are compressed within MCAP
            "compression_mode": "",
            "relative_file_paths": [self._file_name],
            "files": [{"path": self._file_name, **_copy(span), "message_count": count}],
            "custom_data": {},
            "ros_distro": self.ros_distro,
        }


def _copy(span: dict[str, dict]) -> dict[str, dict]:
    return {key: dict(value) for key, value in span.items()}  # a shared object would become a YAML alias


def _topic_information(name: str, topic: _Topic) -> dict[str, Any]:
    metadata = {
        "name": name,
        "type": topic.type_name,
        "serialization_format": "cdr",
        "offered_qos_profiles": [_qos(topic.latched)],
        "type_description_hash": topic.type_hash,
    }
    return {"topic_metadata": metadata, "message_count": topic.count}


def _qos(latched: bool) -> dict[str, Any]:
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
