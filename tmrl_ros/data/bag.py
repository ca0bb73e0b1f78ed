"""Reads MCAP bags, ours or rosbag2's, as serialised messages, without ROS. nodes/replay.py turns them into records."""

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.exceptions import EndOfFile
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC

from tmrl_ros.errors import DataError

RECORD_LIMIT_BYTES = 256 * 1024 * 1024  # a damaged length must not ask for more memory than this


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One recorded message; `data` is its CDR serialisation, `stamp_ns` the ROS time it was recorded at."""

    topic: str
    type_name: str  # "package/msg/Type"
    stamp_ns: int
    data: bytes


def read(path: str | Path, types: set[str] | None = None) -> Iterator[BagMessage]:
    """Messages of a bag (folder or .mcap file) in the order they were recorded, of the given types or of all.

    A file that ends early, because its recorder was killed, is read up to its last whole chunk (is_complete tells);
    damage anywhere else is a DataError.
    """
    for message, channel, schema in _records(path, types):
        yield BagMessage(channel.topic, schema.name, message.log_time, message.data)


def is_complete(path: str | Path) -> bool:
    """Whether every file of the bag was closed by its recorder."""
    return all(_ends_whole(file) for file in _files(path))


def counts(path: str | Path) -> Counter[str]:
    """Messages in the bag by topic, counted rather than believed."""
    return Counter(message.topic for message in read(path))


def _records(path: str | Path, types: set[str] | None) -> Iterator[tuple[Message, Channel, Schema]]:
    for file in _files(path):
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in _stream(file):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels[record.channel_id]
                if types is None or schemas[channel.schema_id].name in types:
                    yield record, channel, schemas[channel.schema_id]


def _stream(file: Path) -> Iterator[Any]:
    with file.open("rb") as stream:
        reader = iter(StreamReader(stream, validate_crcs=True, record_size_limit=RECORD_LIMIT_BYTES).records)
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except (EndOfFile, struct.error):
                if not _ends_whole(file):
                    return
                raise DataError(f"Bag file {file} is damaged (a record runs past its end); restore a copy") from None
            except Exception as error:  # whatever layer meets the damage: record, checksum, decompression
                raise DataError(f"Bag file {file} is damaged ({error}); restore a copy") from None
            yield record


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(MCAP0_MAGIC)))
        return size > len(MCAP0_MAGIC) and stream.read() == MCAP0_MAGIC


def _files(path: str | Path) -> list[Path]:
    path = Path(path)
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.mcap"), key=lambda file: (len(file.name), file.name))  # _2 before _10
    if not files:
        raise DataError(f"{path} is not a bag (it has no .mcap file); give the folder that the recorder wrote")
    return files
