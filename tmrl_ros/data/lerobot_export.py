"""Demonstrations as a LeRobotDataset v3.0: Parquet and JSON that the lerobot package (0.4) opens, without it.

    meta/info.json                            what there is: features, counts, where files are
    meta/tasks.parquet, meta/stats.json       the task; moments and quantiles of each feature
    meta/episodes/chunk-000/file-000.parquet  a row an episode: its rows, its file, its moments and quantiles
    meta/tmrl.json                            our StoreMeta, for which the format has no place
    data/chunk-000/file-000.parquet, ...      a row a row, episodes one after the other

Images are PNG in the data files (dtype "image"): lossless, so that a store comes back as it was.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.data.commit import committed
from tmrl_ros.data.exchange import need
from tmrl_ros.data.images import Images
from tmrl_ros.data.store import Demonstrations

VERSION = "v3.0"
STATE, ACTION, IMAGE = "observation.state", "action", "observation.images."
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILE_MB, CHUNK_FILES = 100, 1000  # about a data file's size; files in a folder
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
PNG_LEVEL = 1  # as lerobot has it: higher ones take long and save little on what a sensor sees
SHADES = np.arange(256) / 255  # lerobot's images are in [0, 1]
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True, slots=True)
class _Episode:
    """What is told of an episode whose rows [start, stop) were written to a file."""

    file: int
    start: int
    stop: int
    stats: dict[str, dict[str, list]]
    shades: dict[str, np.ndarray]  # by camera: how often each colour has each value, int64 [3, 256]


def export(demonstrations: Demonstrations, out: str | Path, robot_type: str = "fr3") -> None:
    """Write a data set to the folder `out`, whole or not at all; one episode's images are in memory at a time."""
    parquet, meta = need("pyarrow.parquet", "pyarrow"), demonstrations.meta
    with committed(out) as folder:
        (folder / "meta/episodes/chunk-000").mkdir(parents=True)
        episodes = list(_write_data(demonstrations, folder))
        parquet.write_table(_episode_table(episodes, meta.task), folder / "meta/episodes/chunk-000/file-000.parquet")
        parquet.write_table(_task_table(meta.task), folder / "meta/tasks.parquet")
        for name, content in (
            ("info", _info(demonstrations, robot_type)),
            ("stats", _overall(demonstrations, episodes)),
            ("tmrl", meta.model_dump(mode="json")),
        ):
            (folder / f"meta/{name}.json").write_text(json.dumps(content, indent=4))


def _write_data(demonstrations: Demonstrations, folder: Path) -> Iterator[_Episode]:
    """Write the data files, a row group an episode."""
    parquet = need("pyarrow.parquet", "pyarrow")
    ends, writer, file, room = demonstrations.ends.tolist(), None, -1, 0
    try:
        for episode, (start, stop) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            numbers = _numbers(demonstrations, episode, start, stop)
            table, shades = _table(demonstrations, numbers, start, stop)
            if room < table.nbytes:
                if writer is not None:
                    writer.close()
                file, room = file + 1, FILE_MB * 2**20
                path = folder / DATA_PATH.format(**_place(file))
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            room -= table.nbytes
            stats = {name: _moments(values) for name, values in numbers.items()}
            stats |= {IMAGE + camera: _image_moments(counts, stop - start) for camera, counts in shades.items()}
            yield _Episode(file, start, stop, stats, shades)
    finally:
        if writer is not None:
            writer.close()


def _numbers(demonstrations: Demonstrations, episode: int, start: int, stop: int) -> dict[str, np.ndarray]:
    """Everything but the images of one episode, each [rows, dim]."""
    frame = np.arange(stop - start)[:, None]
    return {
        STATE: demonstrations.states[start:stop],
        ACTION: demonstrations.actions[start:stop],
        "timestamp": (frame / demonstrations.meta.action_hz).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full_like(frame, episode),
        "index": start + frame,
        "task_index": np.zeros_like(frame),
    }


def _table(
    demonstrations: Demonstrations, numbers: dict[str, np.ndarray], start: int, stop: int
) -> tuple[Any, dict[str, np.ndarray]]:
    """One episode as a pyarrow table, and the shades of its images."""
    arrow = need("pyarrow")
    table = {name: _column(values) for name, values in numbers.items()}
    shades = {}
    for camera, images in demonstrations.images.items():
        packed, shades[camera] = _packed(images, start, stop)
        kind = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
        table[IMAGE + camera] = arrow.array([{"bytes": png, "path": None} for png in packed], kind)
    return arrow.table(table), shades


def _column(values: np.ndarray) -> Any:
    arrow = need("pyarrow")
    flat = arrow.array(values.reshape(-1))
    one = values.shape[1] == 1  # lerobot takes a feature of one number as a number
    return flat if one else arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _packed(images: Images, start: int, stop: int) -> tuple[list[bytes], np.ndarray]:
    """Rows [start, stop) as PNG files, and how often each colour of them has each value."""
    pillow, packed, counts = need("PIL.Image", "pillow"), [], np.zeros((3, 256), np.int64)
    for row in range(start, stop):
        image, buffer = images[np.array([row])][0], io.BytesIO()
        pillow.fromarray(image).save(buffer, "PNG", compress_level=PNG_LEVEL)
        packed.append(buffer.getvalue())
        counts += [np.bincount(image[..., colour].ravel(), minlength=256) for colour in range(3)]
    return packed, counts


def _moments(values: np.ndarray) -> dict[str, list]:
    """Of each column of [rows, dim]."""
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(0).tolist(),
        "max": values.max(0).tolist(),
        "mean": values.mean(0, dtype=np.float64).tolist(),
        "std": values.std(0, dtype=np.float64).tolist(),
        "count": [len(values)],
        **{name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)},
    }


def _image_moments(counts: np.ndarray, images: int) -> dict[str, list]:
    """The same of `images` images by how often each colour has each value, int64 [3, 256]; each as [3, 1, 1]."""
    share = counts / counts.sum(1, keepdims=True)
    below, mean = np.cumsum(share, 1), share @ SHADES
    moments = {
        "min": [SHADES[row.nonzero()[0][0]] for row in counts],
        "max": [SHADES[row.nonzero()[0][-1]] for row in counts],
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ SHADES**2 - mean**2, 0)),
        **{name: [SHADES[min(np.searchsorted(row, q), 255)] for row in below] for name, q in QUANTILES.items()},
    }
    return {**{name: np.reshape(three, (3, 1, 1)).tolist() for name, three in moments.items()}, "count": [images]}


def _overall(demonstrations: Demonstrations, episodes: list[_Episode]) -> dict[str, dict[str, list]]:
    """Statistics of all rows."""
    parts = [_numbers(demonstrations, number, one.start, one.stop) for number, one in enumerate(episodes)]
    stats = {name: _moments(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    for camera in demonstrations.images:
        counts = sum(one.shades[camera] for one in episodes)
        stats[IMAGE + camera] = _image_moments(counts, len(demonstrations.states))
    return stats


def _episode_table(episodes: list[_Episode], task: str) -> Any:
    rows = [
        {
            "episode_index": number,
            "tasks": [task],
            "length": one.stop - one.start,
            **{f"data/{name}": value for name, value in _place(one.file).items()},
            "dataset_from_index": one.start,
            "dataset_to_index": one.stop,
            **{f"stats/{name}/{key}": value for name, of in one.stats.items() for key, value in of.items()},
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for number, one in enumerate(episodes)
    ]
    return need("pyarrow").Table.from_pylist(rows)


def _task_table(task: str) -> Any:
    """A table which pandas, and so lerobot, reads as `task_index` by the task's name."""
    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}
        for name, (kind, numpy_kind) in kinds.items()
    ]
    told = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    table = need("pyarrow").table({"task_index": [0], "task": [task]})
    return table.replace_schema_metadata({"pandas": json.dumps(told)})


def _place(file: int) -> dict[str, int]:
    return {"chunk_index": file // CHUNK_FILES, "file_index": file % CHUNK_FILES}


def _info(demonstrations: Demonstrations, robot_type: str) -> dict[str, Any]:
    meta = demonstrations.meta
    features = {STATE: _feature("float32", meta.state_names), ACTION: _feature("float32", meta.action_names)}
    for camera, images in demonstrations.images.items():
        names = ["height", "width", "channels"]
        features[IMAGE + camera] = {"dtype": "image", "shape": list(images.shape[1:]), "names": names}
    features["timestamp"] = _feature("float32")
    features |= {name: _feature("int64") for name in COUNTERS}
    return {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": len(demonstrations.ends),
        "total_frames": len(demonstrations.states),
        "total_tasks": 1,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": FILE_MB,
        "video_files_size_in_mb": 200,
        "fps": meta.action_hz,
        "splits": {"train": f"0:{len(demonstrations.ends)}"},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": features,
    }


def _feature(dtype: str, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": names}
