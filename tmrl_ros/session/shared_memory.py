"""What killed processes left in Fast DDS's shared memory: some 9 MB each, which nobody else ever removes."""

import fcntl
import re
import time
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/dev/shm")
SEGMENT = re.compile(r"fastdds_[0-9a-f]{16}")
LOCK = "_el"  # of the file beside a segment whose flock its process holds while it lives
SETTLED_S = 60.0  # the process of a younger one may be about to lock it


def remove_abandoned(folder: Path = FOLDER) -> int:
    """Removes segments of processes that are gone; returns the bytes given back. Another user's are left alone."""
    if not folder.is_dir():
        return 0
    return sum(_remove(path) for path in folder.iterdir() if SEGMENT.fullmatch(path.name) and _is_settled(path))


def _is_settled(segment: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - segment.stat().st_mtime > SETTLED_S
    return False


def _remove(segment: Path) -> int:
    """Bytes given back: none where the segment is in use, not ours, or gone already."""
    lock = segment.with_name(segment.name + LOCK)
    with suppress(BlockingIOError, PermissionError, FileNotFoundError), lock.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = segment.stat().st_size
        segment.unlink()
        lock.unlink()
        return size
    return 0
