"""MCAP bags as rosbag2 writes them: folder/metadata.yaml and folder/<folder>_0.mcap, from serialised messages.

Chunks are small and flushed on demand, so a recorder that is killed loses only what came after its last flush. A bag
that goes on gets another file, after the end of a file that a kill had cut off was written anew.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.records import Channel, Message, Metadata, Schema
from mcap.writer import Writer

from tmrl_ros.data import bag
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
    before: int = 0  # in earlier files


@dataclass(frozen=True, slots=True)
class _File:
    """What metadata.yaml says of a file."""

    name: str
    span_ns: tuple[int, int]
    count: int


class BagWriter:
    """Writes one bag; metadata.yaml is there from the start and brought up to date by every flush.

    With `resume` an existing bag goes on; otherwise it is refused.
    """

    def __init__(self, folder: str | Path, ros_distro: str = "", resume: bool = False):
        self.folder = Path(folder)
        self.ros_distro = ros_distro
        self._topics: dict[str, _Topic] = {}
        self._schemas: dict[str, int] = {}
        self._span_ns: tuple[int, int] | None = None
        self._earlier: list[_File] = []
        if self.folder.exists():
            if not resume:
                raise DataError(f"Bag {self.folder} already exists; choose another folder or remove it")
            self._take_up()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file_name = f"{self.folder.name}_{len(self._earlier)}.mcap"
        self._file = (self.folder / self._file_name).open("xb")
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES)
        self._writer.start(profile="ros2", library="tmrl_ros")
        # Tells rosbag2 the version in which channels describe their QoS, even where the end of the file is lost.
        self._writer.add_metadata("rosbag2", {"serialized_metadata": yaml.safe_dump(self._information())})
        self.flush()

    def _take_up(self) -> None:
        """Mend the files that are there, and count what they hold."""
        for number, file in enumerate(sorted(self.folder.glob("*.mcap"), key=lambda path: (len(path.name), path.name))):
            if file.name != f"{self.folder.name}_{number}.mcap":
                raise DataError(f"{file} is not of a bag that can go on; record into another folder")
            mend(file)
            span_ns, count = None, 0
            for message, channel, schema in bag.records(file):
                span_ns, count = _widened(span_ns, message.log_time), count + 1
                latched = "transient_local" in channel.metadata.get("offered_qos_profiles", "")
                type_hash = channel.metadata.get("topic_type_hash", "")
                self._topics.setdefault(channel.topic, _Topic(-1, schema.name, type_hash, latched)).before += 1
            self._earlier.append(_File(file.name, span_ns or (0, 0), count))

    def add_topic(self, topic: str, type_name: str, definition: str, type_hash="", latched=False) -> None:
        """Announce a topic before its first message; `definition` is schema.definition(type_name)."""
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(type_name, "ros2msg", definition.encode())
        metadata = {"offered_qos_profiles": yaml.safe_dump([_qos(latched)]), "topic_type_hash": type_hash}
        channel = self._writer.register_channel(topic, "cdr", self._schemas[type_name], metadata)
        before = self._topics[topic].before if topic in self._topics else 0
        self._topics[topic] = _Topic(channel, type_name, type_hash, latched, before=before)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        entry = self._topics[topic]
        self._writer.add_message(entry.channel, stamp_ns, data, stamp_ns, entry.count)
        entry.count += 1
        self._span_ns = _widened(self._span_ns, stamp_ns)

    def commit(self) -> None:
        """Hand everything written so far to the operating system: it survives the death of this process."""
        self._writer.flush()

    def flush(self) -> None:
        """The same, and metadata.yaml says so."""
        self.commit()
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
        count = sum(topic.count for topic in self._topics.values())
        files = [*self._earlier, _File(self._file_name, self._span_ns or (0, 0), count)]
        spans = [file.span_ns for file in files if file.count] or [(0, 0)]
        return {
            "version": 9,
            "storage_identifier": "mcap",
            **_span(min(first for first, _ in spans), max(last for _, last in spans)),
            "message_count": sum(file.count for file in files),
            "topics_with_message_count": [_topic_information(name, topic) for name, topic in self._topics.items()],
            "compression_format": "",  # of whole files or messages by rosbag2; chunks are compressed within MCAP
            "compression_mode": "",
            "relative_file_paths": [file.name for file in files],
            "files": [{"path": file.name, **_span(*file.span_ns), "message_count": file.count} for file in files],
            "custom_data": {},
            "ros_distro": self.ros_distro,
        }


def mend(file: Path) -> bool:
    """Write an MCAP file whose writer was killed anew, with its end; returns whether that was necessary.

    Its messages are those that bag.read finds in it: all up to the last flush.
    """
    if bag.ends_whole(file):
        return False
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as stream:
        writer = Writer(stream, chunk_size=CHUNK_BYTES)
        writer.start(profile="ros2", library="tmrl_ros")
        schemas, channels = {}, {}  # by their numbers in the file
        for record in bag.stream(file):
            if isinstance(record, Schema):
                schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
            elif isinstance(record, Channel):
                schema, metadata = schemas[record.schema_id], record.metadata
                channels[record.id] = writer.register_channel(record.topic, record.message_encoding, schema, metadata)
            elif isinstance(record, Metadata):
                writer.add_metadata(record.name, record.metadata)
            elif isinstance(record, Message):
                at, m = channels[record.channel_id], record
                writer.add_message(at, m.log_time, m.data, m.publish_time, m.sequence)
        writer.finish()
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)
    return True


def _widened(span_ns: tuple[int, int] | None, stamp_ns: int) -> tuple[int, int]:
    first, last = span_ns or (stamp_ns, stamp_ns)
    return min(first, stamp_ns), max(last, stamp_ns)


def _span(first_ns: int, last_ns: int) -> dict[str, dict[str, int]]:
    return {"duration": {"nanoseconds": last_ns - first_ns}, "starting_time": {"nanoseconds_since_epoch": first_ns}}


def _topic_information(name: str, topic: _Topic) -> dict[str, Any]:
    metadata = {
        "name": name,
        "type": topic.type_name,
        "serialization_format": "cdr",
        "offered_qos_profiles": [_qos(topic.latched)],
        "type_description_hash": topic.type_hash,
    }
    return {"topic_metadata": metadata, "message_count": topic.before + topic.count}


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
