"""Demonstrations from a LeRobotDataset v3.0: Parquet, JSON and, where images are videos, MP4.

States and actions are read at once, images when they are asked for (lerobot_images.py).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.config import validate
from tmrl_ros.data.exchange import Wanted, cameras, columns, names, need, pick
from tmrl_ros.data.images import Images
from tmrl_ros.data.lerobot_export import ACTION, STATE, VERSION
from tmrl_ros.data.lerobot_images import ParquetImages, VideoImages
from tmrl_ros.data.store import Demonstrations, StoreMeta, collect
from tmrl_ros.errors import DataError

CONVERTER = "lerobot.datasets.v30.convert_dataset_v21_to_v30"
PLACES = ["episode_index", "index", "task_index"]  # columns that say where a row belongs
PICTURES = ("image", "video")
VIDEO_PATH = "videos/{key}/chunk-{chunk:03d}/file-{file:03d}.mp4"  # not what info.json says: it could lead anywhere


def read(folder: str | Path, wanted: Wanted | None = None) -> Demonstrations:
    """The data set in `folder`; DataError names what is missing, damaged or does not fit.

    Where `wanted` names no state it is observation.state, and every camera where it does not say which.
    """
    folder, wanted = Path(folder), wanted or Wanted()
    try:
        return _read(folder, json.loads((folder / "meta/info.json").read_bytes()), wanted)
    except DataError:
        raise
    except Exception as error:  # what others wrote may be wrong in any layer: JSON, Parquet, keys, types, shapes
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise DataError(f"{folder} cannot be read as a LeRobotDataset {VERSION} ({what}); restore a copy") from None


def _read(folder: Path, info: dict[str, Any], wanted: Wanted) -> Demonstrations:
    version = str(info.get("codebase_version"))
    if not version.startswith("v3."):
        raise DataError(f"{folder} is a LeRobotDataset {version}, not {VERSION}; lerobot has {CONVERTER} to convert it")
    features = info["features"]
    numeric = [key for key, feature in features.items() if feature["dtype"] not in (*PICTURES, "string")]
    state_keys = [pick("state", key, numeric) for key in wanted.state or (STATE,)]
    rows = _rows(folder, [*PLACES, pick("action", ACTION, numeric), *state_keys])
    rows, task = _one_task(folder, rows, wanted.only)
    count = len(rows["index"])
    states = np.concatenate([columns(key, rows[key], count) for key in state_keys], 1)
    actions = columns(ACTION, rows[ACTION], count)
    cuts = np.flatnonzero(np.diff(rows["episode_index"])) + 1
    pairs = list(zip(np.split(states, cuts), np.split(actions, cuts), strict=True))
    meta = _meta(folder, info, rows, state_keys, wanted, task)
    return collect(pairs, meta, _images(folder, info, rows, wanted))


def _rows(folder: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of all data files by key, [rows] or [rows, dim]; row k is the one whose `index` is k."""
    parquet = need("pyarrow.parquet", "pyarrow")
    tables = [parquet.read_table(file, columns=list(dict.fromkeys(keys))) for file in _data_files(folder)]
    rows = {key: np.concatenate([_numpy(key, table[key]) for table in tables]) for key in keys}
    if not np.array_equal(rows["index"], np.arange(len(rows["index"]))):
        raise DataError(f"{folder} is damaged: the rows in data/ do not count up from 0; restore a copy")
    return rows


def _data_files(folder: Path) -> list[Path]:
    files = sorted((folder / "data").glob("*/*.parquet"))
    if not files:
        raise DataError(f"{folder} has no data/chunk-*/file-*.parquet; restore a copy")
    return files


def _numpy(key: str, column: Any) -> np.ndarray:
    if column.null_count:
        raise DataError(f"{column.null_count} rows have no {key}; take another key, or leave these episodes out")
    values = column.combine_chunks()
    if not values.type.num_fields:
        return values.to_numpy(zero_copy_only=False)
    compute = need("pyarrow.compute", "pyarrow")
    if len(compute.unique(compute.list_value_length(values))) > 1:
        raise DataError(f"{key} has not the same number of values in each row; take another key")
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)


def _one_task(folder: Path, rows: dict[str, np.ndarray], only: str) -> tuple[dict[str, np.ndarray], str]:
    """The rows of the episodes whose task is `only`, or of all if there is one task; and that task."""
    table = need("pyarrow.parquet", "pyarrow").read_table(folder / "meta/tasks.parquet").to_pydict()
    texts = next(column for name, column in table.items() if name != "task_index")
    by_index = dict(zip(table["task_index"], map(str, texts), strict=True))
    first = np.r_[True, np.diff(rows["episode_index"]) != 0]
    of_episode = [by_index[int(task)] for task in rows["task_index"][first]]
    there = sorted(set(of_episode))
    if not only and len(there) > 1:
        raise DataError(f"{folder} has episodes of {len(there)} tasks; choose one: {', '.join(map(repr, there))}")
    task = pick("task", only, there) if only else there[0]
    kept = np.array([text == task for text in of_episode])[np.cumsum(first) - 1]
    return {key: values[kept] for key, values in rows.items()}, task


def _meta(
    folder: Path, info: dict[str, Any], rows: dict[str, np.ndarray], state_keys: list[str], wanted: Wanted, task: str
) -> StoreMeta:
    """Ours, where the data set is an export of a store; else what info.json says."""
    ours, features = folder / "meta/tmrl.json", info["features"]
    if ours.is_file() and not wanted.state:
        meta = validate(StoreMeta, json.loads(ours.read_bytes()))
        return meta.model_copy(update={"task": wanted.task or meta.task})
    if not wanted.action_hz and info["fps"] != int(info["fps"]):
        raise DataError(f"{folder} has {info['fps']} rows a second; give a whole number")
    dims = {key: int(np.prod(rows[key].shape[1:])) for key in rows}
    return StoreMeta(
        task=wanted.task or task,
        seed=0,
        calibration=wanted.calibration,
        state_names=[name for key in state_keys for name in names(key, features[key].get("names"), dims[key])],
        action_names=names(ACTION, features[ACTION].get("names"), dims[ACTION]),
        action_hz=wanted.action_hz or int(info["fps"]),
        config={"edits": [f"imported from the LeRobotDataset {folder.name}"]},
    )


def _images(folder: Path, info: dict[str, Any], rows: dict[str, np.ndarray], wanted: Wanted) -> dict[str, Images]:
    features = info["features"]
    pictures = [key for key, feature in features.items() if feature["dtype"] in PICTURES]
    chosen = cameras(pictures) if wanted.images is None else wanted.images
    found = {}
    for key, camera in chosen.items():
        size = features[pick("image", key, pictures)]["shape"]
        size = [*size[1:], size[0]] if size[0] == 3 and size[-1] != 3 else size  # some data sets say channels first
        if features[key]["dtype"] == "image":
            found[camera] = ParquetImages(_data_files(folder), key, size, rows["index"])
        else:
            found[camera] = _video(folder, key, size, rows, float(info["fps"]))
    return found


def _video(folder: Path, key: str, size: Sequence[int], rows: dict[str, np.ndarray], hz: float) -> VideoImages:
    """Rows as frames: an episode begins in its file at from_timestamp."""
    if "/" in key:
        raise DataError(f"{key!r} is no name of a feature: it contains a slash; rename it where it was recorded")
    parquet = need("pyarrow.parquet", "pyarrow")
    told = [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    keys = ["episode_index", "dataset_from_index", *told]
    tables = [parquet.read_table(file, columns=keys) for file in sorted((folder / "meta/episodes").glob("*/*.parquet"))]
    columns_ = [np.concatenate([table[name].to_numpy() for table in tables]) for name in keys]
    episodes = {int(row[0]): row[1:] for row in zip(*columns_, strict=True)}
    files: dict[Path, int] = {}
    number, frames = np.empty(len(rows["index"]), np.int64), np.empty(len(rows["index"]), np.int64)
    for episode in np.unique(rows["episode_index"]):
        start, chunk, file, from_s = episodes[int(episode)]
        here = rows["episode_index"] == episode
        path = folder / VIDEO_PATH.format(key=key, chunk=int(chunk), file=int(file))
        number[here] = files.setdefault(path, len(files))
        frames[here] = rows["index"][here] - int(start) + round(float(from_s) * hz)
    return VideoImages(list(files), number, frames, size, hz)
