"""A file that only grows: records in checksummed frames. A kill costs at most the record that is being written.

    file   "TMRLLOG1", then frames
    frame  marker (4 bytes), number (u64), length (u32), CRC-32C of these, payload, CRC-32C of all before; little-endian

Durability: each record is handed to the operating system before `append` returns, so it survives the death of the
process; every `sync_s` of wall time, and at `sync` and `close`, it is forced to the disk, so a power cut costs at most
that long. What a kill leaves at the end of the file is cut off and counted when the log is opened again; a damaged
record that has whole ones behind it is refused by its number, since it is no work of a kill.
"""

import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import google_crc32c

from tmrl_ros.errors import DataError

MAGIC = b"TMRLLOG1"
MARKER = b"\xf1TL\x1a"
HEADER = struct.Struct("<4sQI")
CRC = struct.Struct("<I")
OVERHEAD = HEADER.size + 2 * CRC.size
LARGEST_BYTES = 1 << 30


class AppendLog:
    """The writer of a log, new or continued; one at a time. `records` counts those that it holds.

    `lost_bytes` is what a kill had left half-written at the end, and was cut off. `digest` names the content: SHA-256
    of all payloads.
    """

    def __init__(self, path: str | Path, sync_s: float = 1.0):
        self.path, self.sync_s = Path(path), sync_s
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise DataError(f"log {self.path} cannot be opened ({error.strerror}); look what is there") from None
        try:
            self._claim()
            self._sha, self.records, self._end = hashlib.sha256(), 0, len(MAGIC)
            for payload in read(self.path):
                self._count(payload)
            self.lost_bytes = self._cut()
        except BaseException:
            os.close(self._file)
            raise
        self._synced_s = time.monotonic()

    @property
    def digest(self) -> str:
        return self._sha.hexdigest()

    def append(self, payload: bytes) -> int:
        """Write one record and return its number; raises DataError, with the log as before, if the disk refuses it."""
        data = _frame(self.records, payload)
        try:
            _write_all(self._file, data)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
            why = f"log {self.path} cannot be written ({error.strerror}); make room and start again"
            raise DataError(why) from None
        self._count(payload)
        if time.monotonic() - self._synced_s >= self.sync_s:
            self.sync()
        return self.records - 1

    def sync(self) -> None:
        """Force everything to the disk."""
        os.fdatasync(self._file)
        self._synced_s = time.monotonic()

    def close(self) -> None:
        if self._file >= 0:
            self.sync()
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "AppendLog":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _claim(self) -> None:
        """The kernel gives the lock back with the process, however that ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"log {self.path} is being written by another process; end that first") from None

    def _count(self, payload: bytes) -> None:
        self._sha.update(payload)
        self.records += 1
        self._end += OVERHEAD + len(payload)

    def _cut(self) -> int:
        """Remove what is behind the last whole record; returns how many bytes that were."""
        size = os.fstat(self._file).st_size
        if size < len(MAGIC):
            os.ftruncate(self._file, 0)
            _write_all(self._file, MAGIC)
            return size
        os.ftruncate(self._file, self._end)
        return size - self._end


def read(path: str | Path) -> Iterator[bytes]:
    """The payloads of a log, the oldest first, up to where a kill cut it.

    Raises DataError if it is no such log, or if a record is damaged that is not the last.
    """
    path = Path(path)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= len(MAGIC):
            _check_magic(path, file.read())
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_magic(path, data[: len(MAGIC)])
            at, number = len(MAGIC), 0
            while (payload := _payload(data, at, number)) is not None:
                yield payload
                at, number = at + OVERHEAD + len(payload), number + 1
            later = _whole_behind(data, at)
            if later is not None:
                raise DataError(
                    f"log {path} is damaged: record {number} at byte {at} is not whole, but record {later} behind "
                    "it is; restore a copy"
                )


def digest(path: str | Path, records: int) -> str | None:
    """SHA-256 of the first `records` payloads; None if there are not so many."""
    sha, count = hashlib.sha256(), 0
    for payload in read(path):
        if count == records:
            break
        sha.update(payload)
        count += 1
    return sha.hexdigest() if count == records else None


def _frame(number: int, payload: bytes) -> bytes:
    if len(payload) > LARGEST_BYTES:
        raise DataError(f"a record of {len(payload)} bytes is too large for a log; {LARGEST_BYTES} are allowed")
    header = HEADER.pack(MARKER, number, len(payload))
    check = google_crc32c.value(header)
    return b"".join([header, CRC.pack(check), payload, CRC.pack(google_crc32c.extend(check, payload))])


def _payload(data, at: int, number: int | None) -> bytes | None:
    """The payload of the frame at byte `at`, or None if no whole frame (of that number, if given) is there."""
    body = at + HEADER.size + CRC.size
    if body > len(data):
        return None
    marker, found, length = HEADER.unpack(data[at : at + HEADER.size])
    (check,) = CRC.unpack(data[body - CRC.size : body])
    if marker != MARKER or google_crc32c.value(data[at : at + HEADER.size]) != check:
        return None
    if number not in (None, found) or body + length + CRC.size > len(data):
        return None
    payload = bytes(data[body : body + length])
    (whole,) = CRC.unpack(data[body + length : body + length + CRC.size])
    return payload if google_crc32c.extend(check, payload) == whole else None


def _whole_behind(data, at: int) -> int | None:
    """The number of a whole record at or behind byte `at`, if there is one."""
    while (at := data.find(MARKER, at)) >= 0:
        if _payload(data, at, None) is not None:
            return HEADER.unpack(data[at : at + HEADER.size])[1]
        at += 1
    return None


def _check_magic(path: Path, start: bytes) -> None:
    if start != MAGIC[: len(start)]:
        raise DataError(f"{path} is no log (it begins with {start!r}); name a file that a session wrote")


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
