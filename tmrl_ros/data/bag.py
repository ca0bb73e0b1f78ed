"""Reads bags, ours or rosbag2's (MCAP or SQLite), as serialised messages, without ROS.

nodes/replay.py turns them into records.
"""

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.exceptions import EndOfFile
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC

from tmrl_ros.data import bag_sqlite
from tmrl_ros.errors import DataError

SQLITE = ".db3"
RECORD_LIMIT_BYTES = 256 * 1024 * 1024  # a damaged length must not ask for more memory than this


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One recorded message; `data` is its CDR serialisation, `stamp_ns` the ROS time it was recorded at."""

    topic: str
    type_name: str  # "package/msg/Type"
    stamp_ns: int
    data: bytes


def read(path: str | Path, types: set[str] | None = None) -> Iterator[BagMessage]:
    """Messages of a bag (folder or file) in the order they were recorded, of the given types or of all.

    A file that ends early, because its recorder was killed, is read up to its last whole chunk (is_complete tells);
    damage anywhere else is a DataError.
    """
    for file in files(path):
        if file.suffix == SQLITE:
            messages = (BagMessage(*row) for row in bag_sqlite.read(file, RECORD_LIMIT_BYTES))
            yield from (message for message in messages if types is None or message.type_name in types)
            continue
        for message, channel, schema in records(file):
            if types is None or schema.name in types:
                yield BagMessage(channel.topic, schema.name, message.log_time, message.data)


def is_complete(path: str | Path) -> bool:
    """Whether every file of the bag was closed by its recorder; SQLite's are whole at any time."""
    return all(file.suffix == SQLITE or ends_whole(file) for file in files(path))


def counts(path: str | Path) -> Counter[str]:
    """Messages in the bag by topic, counted rather than believed."""
    return Counter(message.topic for message in read(path))


def records(file: Path) -> Iterator[tuple[Message, Channel, Schema]]:
    """Messages of an MCAP file with what describes them, as `read` takes them."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for record in stream(file):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            channel = channels[record.channel_id]
            yield record, channel, schemas[channel.schema_id]


def stream(file: Path) -> Iterator[Any]:
    """Every record of an MCAP file, those in chunks too, as `read` takes them."""
    with file.open("rb") as data:
        reader = iter(StreamReader(data, validate_crcs=True, record_size_limit=RECORD_LIMIT_BYTES).records)
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except (EndOfFile, struct.error):
                if not ends_whole(file):
                    return
                raise DataError(f"Bag file {file} is damaged (a record runs past its end); restore a copy") from None
            except Exception as error:  # whatever layer meets the damage: record, checksum, decompression
                raise DataError(f"Bag file {file} is damaged ({error}); restore a copy") from None
            yield record


def ends_whole(file: Path) -> bool:
    """Whether an MCAP file was closed by its writer."""
    with file.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(0, size - len(MCAP0_MAGIC)))
        return size > len(MCAP0_MAGIC) and data.read() == MCAP0_MAGIC


def files(path: str | Path) -> list[Path]:
    """The files of a bag in the order they were recorded; raises DataError if there are none that can be read."""
    path = Path(path)
    if path.is_file():
        return [path]
    _refuse_compressed(path)
    found = [file for suffix in (".mcap", SQLITE) for file in path.glob(f"*{suffix}") if file.name[0] != "."]
    if not found:
        raise DataError(f"{path} is not a bag (it has no .mcap or .db3 file); give the folder that the recorder wrote")
    return sorted(found, key=lambda file: (len(file.name), file.name))  # _2 before _10


def _refuse_compressed(path: Path) -> None:
    """rosbag2's own compression, of files or messages; chunks that are compressed within MCAP are no matter."""
    try:
        information = yaml.safe_load((path / "metadata.yaml").read_bytes())["rosbag2_bagfile_information"]
        mode = information.get("compression_mode") or ""
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return  # other than the messages, it is not needed
    if str(mode).upper() not in ("", "NONE"):
        raise DataError(f"{path} is compressed by rosbag2 ({mode} mode); write it plain with `ros2 bag convert`")
