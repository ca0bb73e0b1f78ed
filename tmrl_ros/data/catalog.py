"""What lies in a folder: demonstration stores and bags, what they say about themselves, and whether that is true."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tmrl_ros.data import bag, store
from tmrl_ros.data.images import IMAGES, sizes
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
    counts = bag.counts(path)
    total = sum(counts.values())
    if not bag.is_complete(path):
        raise DataError(
            f"{path} ends early: its recorder was killed. {total} messages can be read; at most 1 s is lost"
        )
    told = _told(path) if path.is_dir() else None
    if told is not None and told != dict(counts):
        topic = next(name for name in sorted({*told, *counts}) if told.get(name, 0) != counts[name])
        raise DataError(
            f"{path} is damaged: it holds {counts[topic]} messages of {topic} where its metadata.yaml says "
            f"{told.get(topic, 0)}; restore a copy"
        )
    return f"{total} messages of {len(counts)} topics"


def _kind(path: Path, files: list[str]) -> str:
    if any(name.endswith(".mcap") for name in files):
        return "bag"
    return "store" if "zarr.json" in files or path.suffix == ".zarr" else ""


def _describe(path: Path, kind: str) -> Entry:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        if kind == "bag":
            return Entry(path, kind, rows=sum((_told(path) or {}).values()), size_bytes=size)
        group = json.loads((path / "zarr.json").read_bytes())["attributes"]
        ends = json.loads((path / "episode_ends" / "zarr.json").read_bytes())["shape"]
        images = _listed(dict(_cameras(path)))
        return Entry(path, kind, str(group["meta"]["task"]), int(ends[0]), int(group["rows"]), size, images)
    except (OSError, ValueError, KeyError, TypeError, IndexError, DataError):
        return Entry(path, kind, size_bytes=size, problem="its description cannot be read")


def _cameras(path: Path) -> Iterator[tuple[str, str]]:
    for file in sorted((path / IMAGES).glob("*/zarr.json")):
        _, height, width, _ = json.loads(file.read_bytes())["shape"]
        yield file.parent.name, f"{width}x{height}"


def _listed(cameras: dict[str, str]) -> str:
    return ", ".join(f"{camera} {size}" for camera, size in cameras.items())


def _told(path: Path) -> dict[str, int] | None:
    """Messages by topic as metadata.yaml says, topics without any left out; None where there is no such file."""
    file = path / "metadata.yaml"
    if not file.exists():
        return None
    try:
        information = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        topics = information["rosbag2_bagfile_information"]["topics_with_message_count"]
        told = {str(topic["topic_metadata"]["name"]): int(topic["message_count"]) for topic in topics}
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise DataError(f"{file} is damaged; `ros2 bag reindex` writes it again") from None
    return {name: count for name, count in told.items() if count}
