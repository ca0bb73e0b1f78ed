"""One MCAP file of a bag while it is written, and the writing anew of one that a kill had cut off."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from mcap.records import Attachment, Channel, Message, Metadata, Schema
from mcap.writer import CompressionType, Writer

from tmrl_ros.data import bag
from tmrl_ros.data.bag_metadata import FileFacts, TopicFacts, qos_profile

CHUNK_BYTES = 64 * 1024  # what a kill can cost; rosbag2's usual 768 KiB costs seconds of small messages
COMPRESSIONS = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}
MEDIA = {".yaml": "application/yaml", ".json": "application/json"}


class Segment:
    """Writes messages under topics that were announced; `attachments` (name -> content) come first."""

    def __init__(self, path: Path, information: dict, attachments: Mapping[str, bytes], compression: str = "zstd"):
        self.facts = FileFacts(path.name)
        self._file = path.open("xb")
        self._writer = _writer(self._file, compression)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[int, int]] = {}  # topic -> channel, messages
        # Tells rosbag2 the version in which channels describe their QoS, even where the end of the file is lost.
        self._writer.add_metadata("rosbag2", {"serialized_metadata": yaml.safe_dump(information)})
        for name, content in attachments.items():
            self._writer.add_attachment(0, 0, name, MEDIA.get(Path(name).suffix, "text/plain"), content)
        if attachments:
            digests = {name: hashlib.sha256(content).hexdigest() for name, content in attachments.items()}
            self._writer.add_metadata(bag.ATTACHED, digests)

    def add_topic(self, topic: TopicFacts, definition: str) -> None:
        if topic.type_name not in self._schemas:
            schema = self._writer.register_schema(topic.type_name, "ros2msg", definition.encode())
            self._schemas[topic.type_name] = schema
        metadata = {
            "offered_qos_profiles": yaml.safe_dump([qos_profile(topic.latched)]),
            "topic_type_hash": topic.type_hash,
        }
        channel = self._writer.register_channel(topic.name, "cdr", self._schemas[topic.type_name], metadata)
        self._channels[topic.name] = channel, 0

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        channel, count = self._channels[topic]
        self._writer.add_message(channel, stamp_ns, data, stamp_ns, count)
        self._channels[topic] = channel, count + 1
        self.facts.add(stamp_ns)

    def commit(self) -> None:
        """Hand everything written so far to the operating system: it survives the death of this process."""
        self._writer.flush()
        self.facts.size_bytes = self._file.tell()

    def sync(self) -> None:
        """Wait until the disk has what was committed; another thread may call it."""
        os.fdatasync(self._file.fileno())

    def finish(self) -> None:
        """Write the index, without waiting for the disk; nothing can be written any more."""
        self.commit()
        self._writer.finish()
        self._file.flush()
        self.facts.size_bytes = self._file.tell()

    def close(self) -> None:
        """Wait until the disk has it all; `finish` comes before."""
        os.fsync(self._file.fileno())
        self._file.close()


def mend(file: Path) -> bool:
    """Write an MCAP file whose writer was killed anew, with its end; returns whether that was necessary.

    Its messages are those that bag.read finds in it: all up to the last flush.
    """
    if bag.ends_whole(file):
        return False
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as stream:
        writer = _writer(stream, "zstd")
        _copy(bag.stream(file), writer)
        writer.finish()
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)
    return True


def _writer(stream, compression: str) -> Writer:
    writer = Writer(stream, chunk_size=CHUNK_BYTES, compression=COMPRESSIONS[compression], enable_data_crcs=True)
    writer.start(profile="ros2", library="tmrl_ros")
    return writer


def _copy(records: Iterable, writer: Writer) -> None:
    schemas, channels = {}, {}  # by their numbers in the file
    for record in records:
        if isinstance(record, Schema):
            schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
        elif isinstance(record, Channel):
            schema, metadata = schemas[record.schema_id], record.metadata
            channels[record.id] = writer.register_channel(record.topic, record.message_encoding, schema, metadata)
        elif isinstance(record, Metadata):
            writer.add_metadata(record.name, record.metadata)
        elif isinstance(record, Attachment):
            r = record
            writer.add_attachment(r.create_time, r.log_time, r.name, r.media_type, r.data)
        elif isinstance(record, Message):
            at, m = channels[record.channel_id], record
            writer.add_message(at, m.log_time, m.data, m.publish_time, m.sequence)
