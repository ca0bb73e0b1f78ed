"""Demonstration store: zarr v3, flat arrays and the row at which each episode ends.

    observation/state  float32 [rows, state_dim]   what the policy saw when the row began to run
    action             float32 [rows, action_dim]  the row that ran
    episode_ends       int64   [episodes]          episode k is rows episode_ends[k - 1] .. episode_ends[k] - 1
    attributes         {"meta": StoreMeta, "rows": committed rows, "sha256": of the arrays, meta and rows}

Written into a temporary folder, synced and renamed, so a store is whole or not at all; read only if the digest fits.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pydantic import Field

from tmrl_ros.config import Model, validate
from tmrl_ros.errors import ConfigError, DataError

ARRAYS = {  # path in the store -> field of Demonstrations
    "observation/state": ("states", np.float32),
    "action": ("actions", np.float32),
    "episode_ends": ("ends", np.int64),
}


class StoreMeta(Model):
    """Where the rows came from; names carry their unit and frame, one a dimension."""

    task: str
    seed: int
    calibration: str  # identity of the camera calibration; "true" in simulation
    state_names: list[str]
    action_names: list[str]
    action_hz: int
    config: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """The content: states float32 [rows, state_dim], actions float32 [rows, action_dim], ends int64 [episodes]."""

    states: np.ndarray
    actions: np.ndarray
    ends: np.ndarray
    meta: StoreMeta


def collect(episodes: Sequence[tuple[np.ndarray, np.ndarray]], meta: StoreMeta) -> Demonstrations:
    """Flatten (states, actions) pairs, one an episode; raises DataError if they do not fit each other or the names."""
    if not episodes:
        raise DataError("No episode was kept, so there is no demonstration to store; collect again and keep some")
    states = np.concatenate([np.asarray(pair[0], np.float32) for pair in episodes])
    actions = np.concatenate([np.asarray(pair[1], np.float32) for pair in episodes])
    ends = np.cumsum([len(pair[1]) for pair in episodes], dtype=np.int64)
    demonstrations = Demonstrations(states, actions, ends, meta)
    problem = _problem(demonstrations)
    if problem:
        raise DataError(f"Demonstrations cannot be stored: {problem}")
    return demonstrations


def write(path: str | Path, demonstrations: Demonstrations) -> None:
    """Commit a new store at `path`, atomically; an existing one is refused, not replaced."""
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} already exists; choose another folder or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        group = zarr.create_group(temporary, zarr_format=3)
        for name, (field, _) in ARRAYS.items():
            group.create_array(name, data=getattr(demonstrations, field))
        group.attrs.update(
            meta=demonstrations.meta.model_dump(mode="json"),
            rows=len(demonstrations.states),
            sha256=_digest(demonstrations),
        )
        _sync_tree(temporary)
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(path.parent)


def read(path: str | Path) -> Demonstrations:
    """Open and verify a store; DataError says in a sentence what is wrong with it."""
    path = Path(path)
    if not (path / "zarr.json").is_file():
        raise DataError(f"{path} is not a demonstration store (no zarr.json in it); give the folder that collect wrote")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        rows, digest = group.attrs["rows"], group.attrs["sha256"]
        meta = validate(StoreMeta, group.attrs["meta"])
        if not group["action"].shape[0] == group["observation/state"].shape[0] == rows:
            raise DataError("its arrays do not have the committed number of rows")
        arrays = {field: np.asarray(group[name][:], dtype) for name, (field, dtype) in ARRAYS.items()}
    except Exception as error:  # a damaged file may fail in any layer: JSON, zarr metadata, codec, file system
        what = error if isinstance(error, (DataError, ConfigError)) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is damaged ({what}); collect it again or restore a copy".replace("\n", " ")) from None
    demonstrations = Demonstrations(meta=meta, **arrays)
    if _digest(demonstrations) != digest:
        raise DataError(f"{path} is damaged (it does not match its sha256); collect it again or restore a copy")
    return demonstrations


def read_arrays(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """States, actions and episode ends of the store at `path`; None if it is empty, as where a setting names none."""
    if not path:
        return None
    demonstrations = read(path)
    return demonstrations.states, demonstrations.actions, demonstrations.ends


def chunks(demonstrations: Demonstrations, action_horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Every row as a sample: states float32 [n, state_dim], chunks from it on float32 [n, action_horizon, action_dim].

    Actions are displacements with the grip in the last column, so past the episode's end a chunk is padded with no
    motion and the episode's last grip: repeating the last action would teach the arm to drift on.
    """
    ends, actions = demonstrations.ends, demonstrations.actions
    end_of_row = np.repeat(ends, np.diff(ends, prepend=0))  # [n]
    wanted = np.arange(len(actions))[:, None] + np.arange(action_horizon)  # [n, H]
    chunk = actions[np.minimum(wanted, end_of_row[:, None] - 1)]  # [n, H, A]
    chunk[wanted >= end_of_row[:, None], :-1] = 0.0
    return demonstrations.states, chunk


def _problem(d: Demonstrations) -> str:
    if d.states.ndim != 2 or d.actions.ndim != 2 or len(d.states) != len(d.actions):
        return f"states {d.states.shape} and actions {d.actions.shape} must be [rows, dim] with the same rows"
    if d.states.shape[1] != len(d.meta.state_names) or d.actions.shape[1] != len(d.meta.action_names):
        return f"{d.states.shape[1]} state and {d.actions.shape[1]} action columns do not match their names"
    if (np.diff(d.ends, prepend=0) <= 0).any():
        return "an episode has no rows"
    if not (np.isfinite(d.states).all() and np.isfinite(d.actions).all()):
        return "a value is not finite"
    return ""


def _digest(d: Demonstrations) -> str:
    sha = hashlib.sha256(json.dumps(d.meta.model_dump(mode="json"), sort_keys=True).encode())
    for array in (d.states, d.actions, d.ends):
        sha.update(repr((array.dtype.str, array.shape)).encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
