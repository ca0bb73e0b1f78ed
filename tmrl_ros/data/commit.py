"""A new folder that is whole or not at all: written beside its place, synced, and renamed into it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tmrl_ros.errors import DataError


@contextmanager
def committed(path: str | Path) -> Iterator[Path]:
    """A temporary folder's path to write into; it becomes `path` if the block ends well, and is removed otherwise.

    An existing `path` is refused with DataError before anything is written.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} already exists; choose another folder or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        for entry in [*temporary.rglob("*"), temporary]:
            sync(entry)
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has this file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
