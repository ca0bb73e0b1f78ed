"""Reads bags, ours or rosbag2's (MCAP or SQLite), as serialised messages, without ROS.

nodes/replay.py turns them into records.
"""

import hashlib
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
import zstandard
from mcap.exceptions import EndOfFile
from mcap.records import Attachment, Channel, Chunk, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC

from tmrl_ros.data import bag_sqlite
from tmrl_ros.documents import from_yaml, shown
from tmrl_ros.errors import DataError

SQLITE = ".db3"
PARAMETERS, CALIBRATION = "parameters.yaml", "calibration.json"  # what the recorder attaches
ATTACHED = "tmrl_attached"  # metadata of a file: SHA-256 of each attachment by name
FOOTER = struct.Struct("<BQQQI")  # opcode, length, where the summary starts and its offsets, CRC-32 of both
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


def is_sqlite(path: str | Path) -> bool:
    """Whether any of the bag is in rosbag2's older storage, which cannot tell whether it was damaged."""
    return any(file.suffix == SQLITE for file in files(path))


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
            if record.channel_id not in channels or channels[record.channel_id].schema_id not in schemas:
                raise DataError(f"Bag file {file} is damaged (a message that nothing describes); restore a copy")
            channel = channels[record.channel_id]
            yield record, channel, schemas[channel.schema_id]


def stream(file: Path) -> Iterator[Any]:
    """Every record of an MCAP file, those in chunks too, as `read` takes them."""
    with file.open("rb") as data:
        limited = StreamReader(data, emit_chunks=True, validate_crcs=True, record_size_limit=RECORD_LIMIT_BYTES)
        reader = iter(limited.records)
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return _check_summary(file, data)
            except (EndOfFile, struct.error):
                if not ends_whole(file):
                    return None
                raise DataError(f"Bag file {file} is damaged (a record runs past its end); restore a copy") from None
            except Exception as error:  # whatever layer meets the damage: record, checksum, text
                raise DataError(f"Bag file {file} is damaged ({error}); restore a copy") from None
            if isinstance(record, Chunk):
                yield from _parts(file, record)
            else:
                yield record


def attachments(path: str | Path) -> dict[str, bytes]:
    """What the recorder put into the bag beside messages, by name, such as PARAMETERS; empty where it put nothing.

    Raises DataError where one is not what was put in.
    """
    found: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    for file in (file for file in files(path)[:1] if file.suffix != SQLITE):
        for record in stream(file):
            if isinstance(record, Attachment):
                found[record.name] = record.data
            elif isinstance(record, Metadata) and record.name == ATTACHED:
                digests = record.metadata
            elif isinstance(record, Message):
                break
    for name, content in found.items():
        if digests.get(name, sha := hashlib.sha256(content).hexdigest()) != sha:
            raise DataError(f"{name} in bag {path} is damaged (its checksum differs); restore a copy")
    return found


def _parts(file: Path, chunk: Chunk) -> list[Any]:
    try:
        return breakup_chunk(replace(chunk, compression="", data=_decompressed(chunk)), validate_crc=True)
    except (EndOfFile, struct.error):
        raise DataError(f"Bag file {file} is damaged (a record runs past its chunk); restore a copy") from None
    except Exception as error:  # of a decompressor, a checksum, a text
        raise DataError(f"Bag file {file} is damaged ({error}); restore a copy") from None


def _decompressed(chunk: Chunk) -> bytes:
    """The chunk's records, in no more memory than it says it needs, or ValueError."""
    data, size = chunk.data, chunk.uncompressed_size
    if size > RECORD_LIMIT_BYTES:
        raise ValueError(f"a chunk of {size} bytes, {RECORD_LIMIT_BYTES} are allowed")
    if chunk.compression == "zstd":
        if zstandard.frame_content_size(data) > size:
            raise ValueError(f"a chunk that is larger than the {size} bytes that it says")
        data = zstandard.decompress(data, size)
    elif chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
    elif chunk.compression:
        raise ValueError(f"compression {chunk.compression!r}; zstd and lz4 can be read")
    if len(data) != size:
        raise ValueError(f"a chunk of another size than the {size} bytes that it says")
    return data


def _check_summary(file: Path, data: BinaryIO) -> None:
    """The index at the end of a file, which other tools read by, against its checksum."""
    data.seek(-FOOTER.size - len(MCAP0_MAGIC), os.SEEK_END)
    footer = data.read(FOOTER.size)
    *_, start, _, crc = FOOTER.unpack(footer)
    if not crc:
        return
    data.seek(start or -FOOTER.size - len(MCAP0_MAGIC), os.SEEK_SET if start else os.SEEK_END)
    summary = data.read()[: -len(MCAP0_MAGIC) - 4]
    if zlib.crc32(summary) != crc:
        raise DataError(f"Bag file {file} is damaged (its index differs from its checksum); restore a copy")


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
    described = _description(path)
    mode = str(described.get("compression_mode") or "")
    if mode.upper() not in ("", "NONE"):  # of files or messages; chunks that are compressed within MCAP are no matter
        raise DataError(f"{path} is compressed by rosbag2 ({mode[:20]} mode); write it plain with `ros2 bag convert`")
    found = [file for suffix in (".mcap", SQLITE) for file in path.glob(f"*{suffix}") if file.name[0] != "."]
    if not found:
        raise DataError(f"{path} is not a bag (it has no .mcap or .db3 file); give the folder that the recorder wrote")
    named = described.get("relative_file_paths")
    for name in [*found, *(named if isinstance(named, list) else ())]:
        if not (path / Path(str(name)).name).is_file():
            raise DataError(f"{path} lacks the file {shown(Path(str(name)).name)}; restore a copy")
    found.sort(key=lambda file: (len(file.name), file.name))  # _2 before _10
    for file in found[:-1]:
        if file.suffix != SQLITE and not ends_whole(file):  # no kill does that: only the last is being written
            raise DataError(
                f"{file} ends early, though a file follows it; restore a copy, or read its files one by one"
            )
    return found


def _description(path: Path) -> dict[str, Any]:
    """What metadata.yaml says, where it can be read: messages can be without it."""
    try:
        described = from_yaml((path / "metadata.yaml").read_bytes())["rosbag2_bagfile_information"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return described if isinstance(described, dict) else {}
