"""What lies in a folder: demonstration stores and bags, what they say about themselves, and whether that is true."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tmrl_ros.data import bag, store
from tmrl_ros.data.images import IMAGES, sizes
from tmrl_ros.documents import from_json, from_yaml
from tmrl_ros.errors import DataError


@dataclass(frozen=True, slots=True)
class Entry:
    """One store or bag as it describes itself: `rows` of a store or messages of a bag; `problem` if it cannot."""

    path: Path
    kind: str  # "store" or "bag"
    task: str = ""  # of a store
    episodes: int | None = None  # of a store
    rows: int | None = None
    size_bytes: int = 0
    images: str = ""  # of a store: its cameras, such as "front 128x96"
    problem: str = ""


class Told(NamedTuple):
    """What a bag's metadata.yaml says: messages by topic, topics without any left out, and of each file its number of
    messages and its first stamp in ns."""

    topics: dict[str, int]
    files: dict[str, tuple[int, int]]


def find(folder: str | Path) -> Iterator[Entry]:
    """Every store and bag in `folder` and below it, in order of their paths; nothing but descriptions is read."""
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is not a folder; give one that holds runs, stores or bags")
    for parent, folders, files in os.walk(folder):
        folders.sort()
        kind = _kind(Path(parent), files)
        if kind:
            folders.clear()  # what is inside belongs to it
            yield _describe(Path(parent), kind)


def check(path: str | Path) -> str:
    """Read all of a store or bag against its checksums: a sentence on what is there; DataError says what is wrong."""
    path = Path(path)
    kind = _kind(path, os.listdir(path)) if path.is_dir() else "bag"
    if kind == "store":
        content = store.read(path)
        store.verify_images(content)
        seen = _listed(sizes(content.images))
        images = f", images {seen}" if seen else ""
        return f"{len(content.ends)} episodes, {len(content.states)} rows of {content.meta.task}{images}"
    return _check_bag(path)


def _check_bag(path: Path) -> str:
    counts, found = Counter(), {}
    for file in bag.files(path):
        stamps_ns = []
        for message in bag.read(file):
            counts[message.topic] += 1
            stamps_ns.append(message.stamp_ns)
        found[file.name] = len(stamps_ns), min(stamps_ns, default=0)
    told = _told(path) if path.is_dir() else None
    if not bag.is_complete(path):
        promised, there = sum(told.topics.values()) if told else 0, counts.total()
        if promised > there:
            raise DataError(f"{path} was cut off: {there} of {promised} messages can be read; restore a copy")
        raise DataError(
            f"{path} ends early: its recorder was killed. {there} messages can be read; at most 1 s is lost"
        )
    if told is not None:
        _compare(path, told, counts, found)
    unseen = "; SQLite has no checksums, so a changed bit would not be seen" if bag.is_sqlite(path) else ""
    return f"{counts.total()} messages of {len(counts)} topics{unseen}"


def _compare(path: Path, told: Told, counts: Counter[str], found: dict[str, tuple[int, int]]) -> None:
    if told.topics != dict(counts):
        topic = next(name for name in sorted({*told.topics, *counts}) if told.topics.get(name, 0) != counts[name])
        raise DataError(
            f"{path} is damaged: it holds {counts[topic]} messages of {topic} where its metadata.yaml says "
            f"{told.topics.get(topic, 0)}; restore a copy"
        )
    for file, facts in told.files.items():
        if found.get(file, facts) != facts:
            raise DataError(
                f"{path} is damaged: {file} does not hold what its metadata.yaml says, {facts[0]} messages from "
                f"{facts[1]} ns on; restore a copy"
            )


def _kind(path: Path, files: list[str]) -> str:
    if any(name.endswith(".mcap") for name in files):
        return "bag"
    return "store" if "zarr.json" in files or path.suffix == ".zarr" else ""


def _describe(path: Path, kind: str) -> Entry:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        if kind == "bag":
            return Entry(path, kind, rows=sum(told.topics.values()) if (told := _told(path)) else 0, size_bytes=size)
        group = from_json((path / "zarr.json").read_bytes())["attributes"]
        ends = from_json((path / "episode_ends" / "zarr.json").read_bytes())["shape"]
        images = _listed(dict(_cameras(path)))
        return Entry(path, kind, str(group["meta"]["task"]), int(ends[0]), int(group["rows"]), size, images)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, DataError):
        return Entry(path, kind, size_bytes=size, problem="its description cannot be read")


def _cameras(path: Path) -> Iterator[tuple[str, str]]:
    for file in sorted((path / IMAGES).glob("*/zarr.json")):
        _, height, width, _ = from_json(file.read_bytes())["shape"]
        yield file.parent.name, f"{width}x{height}"


def _listed(cameras: dict[str, str]) -> str:
    return ", ".join(f"{camera} {size}" for camera, size in cameras.items())


def _told(path: Path) -> Told | None:
    """None where there is no metadata.yaml."""
    file = path / "metadata.yaml"
    if not file.exists():
        return None
    try:
        information = from_yaml(file.read_bytes())["rosbag2_bagfile_information"]
        topics = information["topics_with_message_count"]
        told = {str(topic["topic_metadata"]["name"]): int(topic["message_count"]) for topic in topics}
        files = {str(entry["path"]): _facts(entry) for entry in information.get("files") or ()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DataError(f"{file} is damaged; `ros2 bag reindex` writes it again") from None
    return Told({name: count for name, count in told.items() if count}, files)


def _facts(entry: dict[str, Any]) -> tuple[int, int]:
    return int(entry["message_count"]), int(entry["starting_time"]["nanoseconds_since_epoch"])
