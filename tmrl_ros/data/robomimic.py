"""Demonstrations from an HDF5 file as robomimic writes it: data/demo_<k>/{obs/<key>, actions}.

Which observation keys become the state, and which the images, is the caller's choice: the format does not say.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.data.exchange import Wanted, columns, names, need, pick
from tmrl_ros.data.images import Gathered, Lazy
from tmrl_ros.data.store import Demonstrations, StoreMeta, collect
from tmrl_ros.errors import DataError

DEMO = re.compile(r"demo_(\d+)")


def read(path: str | Path, wanted: Wanted) -> Demonstrations:
    """The demonstrations of a file, in the order of their numbers; DataError names what is missing or does not fit.

    `wanted` must name the state; no images are taken where it names none. Rows a second are `wanted.action_hz`, or the
    control_freq that the file's env_args tell.
    """
    path, h5py = Path(path), need("h5py")
    if wanted.only:
        raise DataError(f"{path} is of one task, so {wanted.only!r} cannot be chosen (--only); leave it away")
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file, wanted)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:  # h5py's, and of keys
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise DataError(f"{path} cannot be read as robomimic's HDF5 ({what}); restore a copy") from None


def _read(path: Path, file: Any, wanted: Wanted) -> Demonstrations:
    demos = sorted((int(found[1]), name) for name in file.get("data", ()) if (found := DEMO.fullmatch(name)))
    if not demos:
        raise DataError(
            f"{path} has no data/demo_<number>, so it is not robomimic's; it has: {', '.join(file) or 'nothing'}"
        )
    pairs, spans, state_names, action_names = [], {key: [] for key in wanted.images or {}}, [], []
    for _, name in demos:
        demo, where = file["data"][name], f"{path}: data/{name}"
        for part in ("actions", "obs"):
            pick(f"array in {where}", part, list(demo))
        actions = columns(f"{where}/actions", demo["actions"], len(demo["actions"]))
        state, state_names = _state(where, demo["obs"], len(actions), wanted)
        action_names = names("action", None, actions.shape[1])
        pairs.append((state, actions))
        for key in spans:
            images = _image(path, name, key, demo["obs"], len(actions))
            spans[key].append((images, 0, len(actions)))
    widths = sorted({(pair[0].shape[1], pair[1].shape[1]) for pair in pairs})
    if len(widths) > 1:
        raise DataError(f"{path}: demonstrations differ in their (state, action) columns: {widths}; split the file")
    meta = _meta(path, file["data"], wanted, state_names, action_names)
    return collect(pairs, meta, {wanted.images[key]: _gathered(path, key, parts) for key, parts in spans.items()})


def _state(where: str, obs: Any, rows: int, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """State float32 [rows, dim] of one demonstration, and the names of its columns."""
    if not wanted.state:
        numeric = [key for key in obs if obs[key].dtype.kind == "f"]
        raise DataError(
            f"{where} does not say what is the state; choose keys: {', '.join(numeric) or 'none has numbers'}"
        )
    parts = [
        columns(f"{where}/obs/{key}", obs[pick(f"key in {where}/obs", key, list(obs))], rows) for key in wanted.state
    ]
    named = [name for key, part in zip(wanted.state, parts, strict=True) for name in names(key, None, part.shape[1])]
    return np.concatenate(parts, 1), named


def _image(path: Path, demo: str, key: str, obs: Any, rows: int) -> "Hdf5Images":
    array = obs[pick(f"key in {path}: data/{demo}/obs", key, list(obs))]
    if array.ndim != 4 or array.dtype != np.uint8 or array.shape[0] != rows or array.shape[3] != 3:
        raise DataError(
            f"{path}: data/{demo}/obs/{key} is {array.dtype} {list(array.shape)}, not images uint8 "
            f"[{rows} rows, height, width, 3]; give another key"
        )
    return Hdf5Images(path, array.name, array.shape)


def _gathered(path: Path, key: str, parts: list[tuple["Hdf5Images", int, int]]) -> Gathered:
    sizes = sorted({images.shape[1:] for images, *_ in parts})
    if len(sizes) > 1:
        raise DataError(f"{path}: images {key} have several sizes: {sizes}; split the file")
    return Gathered(parts)


def _meta(path: Path, data: Any, wanted: Wanted, state_names: list[str], action_names: list[str]) -> StoreMeta:
    told = json.loads(data.attrs.get("env_args", "{}"))
    hz = wanted.action_hz or told.get("env_kwargs", {}).get("control_freq", 0)
    if not hz or hz != int(hz):
        raise DataError(f"{path} says {hz or 'nothing'} about rows a second; give them as a whole number (--hz)")
    return StoreMeta(
        task=wanted.task or str(told.get("env_name", path.stem)),
        seed=0,
        calibration=wanted.calibration,
        state_names=state_names,
        action_names=action_names,
        action_hz=int(hz),
        config={"edits": [f"imported from robomimic's {path.name}"]},
    )


class Hdf5Images(Lazy):
    """An array uint8 [rows, height, width, 3] in an HDF5 file, which is open only while some are read."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]):
        self.path, self.name, self.shape = path, name, tuple(shape)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        wanted = self._rows(rows)
        order, back = np.unique(wanted, return_inverse=True)  # h5py wants rows that increase
        try:
            with need("h5py").File(self.path, "r") as file:
                contiguous = len(order) and order[-1] - order[0] + 1 == len(order)
                array = file[self.name]
                seen = array[order[0] : order[-1] + 1] if contiguous else array[order]  # a list of rows is slow
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise DataError(f"{self.path}: {self.name} is damaged ({error}); restore a copy") from None
        return seen[back]
