"""Reads rosbag2's older storage, SQLite (.db3 files), as serialised messages."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tmrl_ros.errors import DataError

Row = tuple[str, str, int, bytes]  # topic, type, stamp in ns, CDR
MESSAGES = """SELECT topics.name, topics.type, messages.timestamp, messages.data FROM messages
JOIN topics ON topics.id = messages.topic_id ORDER BY messages.timestamp, messages.id"""


def read(file: Path, limit_bytes: int) -> Iterator[Row]:
    """Messages in the order of their stamps, each of at most `limit_bytes`; raises DataError if it is no such file."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")  # a file that was sent must not run what it defines
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit_bytes)
            _check(file, database)
            for row in database.execute(MESSAGES):
                if tuple(map(type, row)) != (str, str, int, bytes):
                    raise DataError(f"Bag file {file} is damaged (a row of other types); restore a copy")
                yield row
    except (sqlite3.Error, OverflowError) as error:
        raise DataError(f"Bag file {file} is damaged ({error}); restore a copy") from None


def _check(file: Path, database: sqlite3.Connection) -> None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"topics", "messages"} <= tables:
        raise DataError(f"{file} is no bag (it lacks the tables topics and messages); give one that rosbag2 wrote")
    for name, kind in database.execute("SELECT name, serialization_format FROM topics"):
        if kind != "cdr":
            raise DataError(f"{file}: {name} is serialised as {kind!r}; convert the bag to cdr with `ros2 bag convert`")
