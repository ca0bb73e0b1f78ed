"""What other data sets have in common when demonstrations are taken from them, and how one tells them apart."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tmrl_ros.errors import DataError


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a data set's arrays become what; empty values are taken from the data set where it says them.

    `state` are keys whose columns, one after the other, become the state. `images` are cameras by key; None leaves the
    choice to the importer.
    """

    state: Sequence[str] = ()
    images: Mapping[str, str] | None = None
    task: str = ""  # what the store calls it
    only: str = ""  # the one task to take, of a data set with several
    action_hz: int = 0
    calibration: str = "unknown"


def kind_of(path: Path) -> str:
    """Whose it is: "bag" of a collect session, "lerobot" for a folder with meta/info.json, "robomimic" for HDF5.

    Raises DataError for others.
    """
    if (path / "metadata.yaml").is_file() or any(path.glob("*.mcap")):
        return "bag"
    if (path / "meta/info.json").is_file():
        return "lerobot"
    if path.is_file() and path.suffix in (".hdf5", ".h5"):
        return "robomimic"
    raise DataError(
        f"{path} is nothing that can be imported: no bag, no folder with meta/info.json (LeRobotDataset), no file "
        ".hdf5 or .h5 (robomimic)"
    )


def need(module: str, package: str = "") -> ModuleType:
    """A module of a package that only some commands use; DataError says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = package or module.partition(".")[0]
        raise DataError(f"This needs the package {package}, which is not installed: pip install {package}") from None


def cameras(keys: Sequence[str]) -> dict[str, str]:
    """A camera's name for each image key: its last part, as in {"observation.images.front": "front"}."""
    return {key: re.sub(r"\W", "_", re.split(r"[./]", key)[-1], flags=re.ASCII) for key in keys}


def columns(name: str, values: Any, rows: int) -> np.ndarray:
    """Numbers as float32 [rows, dim], where [rows] becomes one column; DataError names what is not that."""
    array = np.asarray(values)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "fiub" or len(array) != rows:
        raise DataError(
            f"{name} is {array.dtype} {list(array.shape)}, not numbers [{rows} rows, dim]; give another key"
        )
    return array.astype(np.float32)


def names(key: str, given: Any, dim: int) -> list[str]:
    """A name for each of the `dim` columns of `key`: those given, be they nested, or the key and a number."""
    while isinstance(given, dict) and len(given) == 1:  # such as {"motors": [...]}
        given = next(iter(given.values()))
    if isinstance(given, list) and len(given) == dim and all(isinstance(name, str) for name in given):
        return list(given)
    return [key] if dim == 1 else [f"{key}_{k}" for k in range(dim)]


def pick(kind: str, wanted: str, there: Sequence[str]) -> str:
    """`wanted`, if it is there; DataError lists what is."""
    if wanted not in there:
        raise DataError(f"There is no {kind} {wanted!r}; valid: {', '.join(map(repr, there)) or 'none'}")
    return wanted
