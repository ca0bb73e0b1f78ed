"""Demonstration store: zarr v3, flat arrays and the row at which each episode ends.

    observation/state  float32 [rows, state_dim]   what the policy saw when the row began to run
    action             float32 [rows, action_dim]  the row that ran
    episode_ends       int64   [episodes]          episode k is rows episode_ends[k - 1] .. episode_ends[k] - 1
    attributes         {"meta": StoreMeta, "rows": committed rows, "sha256": of the arrays, meta and rows}

    observation/cloud  float32 [rows, points, 3 or 6]  optional: m, and rgb in 0..1, base frame

Camera images are optional too (images.py has their layout); the digest covers them through those of their rows.
Written into a temporary folder, synced and renamed, so a store is whole or not at all; read only if the digest fits.
Images are read, and checked, row by row when they are asked for.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pydantic import Field

from tmrl_ros.config import Model, validate
from tmrl_ros.data.commit import committed
from tmrl_ros.data.images import Images, stored_images, stretches, write_images
from tmrl_ros.errors import ConfigError, DataError

CLOUD = "observation/cloud"
ARRAYS = {  # path in the store -> field of Demonstrations
    "observation/state": ("states", np.float32),
    "action": ("actions", np.float32),
    "episode_ends": ("ends", np.int64),
}
CAMERA = re.compile(r"(?!(state|action|action_chunk|cloud)$)[A-Za-z]\w*", re.ASCII)  # a name that no other input has


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
    """The content: states float32 [rows, state_dim], actions float32 [rows, action_dim], ends int64 [episodes].

    `images` are those of each camera, uint8 [rows, height, width, 3], and may be read only when asked for; `clouds` are
    float32 [rows, points, 3 or 6].
    """

    states: np.ndarray
    actions: np.ndarray
    ends: np.ndarray
    meta: StoreMeta
    images: Mapping[str, Images] = field(default_factory=dict)
    clouds: np.ndarray | None = None

    def inputs(self, rows: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
        """What a policy may see at `rows`, by name: "state", "cloud" and each camera's images, read into memory."""
        clouds = {} if self.clouds is None else {"cloud": self.clouds[rows]}
        images = {camera: images[rows] for camera, images in self.images.items()}
        return {"state": self.states[rows], **clouds, **images}


def collect(
    episodes: Sequence[tuple[np.ndarray, np.ndarray]],
    meta: StoreMeta,
    images: Mapping[str, Images] | None = None,
    clouds: np.ndarray | None = None,
) -> Demonstrations:
    """Flatten (states, actions) pairs, one an episode; `images` by camera and `clouds`, of all rows.

    Raises DataError if they do not fit each other or the names.
    """
    if not episodes:
        raise DataError("No episode was kept, so there is no demonstration to store; collect again and keep some")
    states = np.concatenate([np.asarray(pair[0], np.float32) for pair in episodes])
    actions = np.concatenate([np.asarray(pair[1], np.float32) for pair in episodes])
    ends = np.cumsum([len(pair[1]) for pair in episodes], dtype=np.int64)
    clouds = None if clouds is None else np.asarray(clouds, np.float32)
    demonstrations = Demonstrations(states, actions, ends, meta, images or {}, clouds)
    problem = _problem(demonstrations)
    if problem:
        raise DataError(f"Demonstrations cannot be stored: {problem}")
    return demonstrations


def write(path: str | Path, demonstrations: Demonstrations, quality: int | None = None) -> None:
    """Commit a new store at `path`, atomically; an existing one is refused, not replaced.

    With a `quality`, 1 .. 100, images are kept lossy (webp.py).
    """
    with committed(path) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        for name, (attribute, _) in ARRAYS.items():
            group.create_array(name, data=getattr(demonstrations, attribute))
        if demonstrations.clouds is not None:
            group.create_array(CLOUD, data=demonstrations.clouds)
        digests = {name: write_images(group, name, images, quality) for name, images in demonstrations.images.items()}
        group.attrs.update(
            meta=demonstrations.meta.model_dump(mode="json"),
            rows=len(demonstrations.states),
            sha256=_digest(demonstrations, digests),
        )


def read(path: str | Path) -> Demonstrations:
    """Open a store and verify all of it but the images, whose rows are verified as they are read (`verify_images`).

    DataError says in a sentence what is wrong with it.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        raise DataError(f"{path} is not a demonstration store (no zarr.json in it); give the folder that collect wrote")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        rows, digest = group.attrs["rows"], group.attrs["sha256"]
        meta = validate(StoreMeta, group.attrs["meta"])
        if not group["action"].shape[0] == group["observation/state"].shape[0] == rows:
            raise DataError("its arrays do not have the committed number of rows")
        arrays = {attribute: np.asarray(group[name][:], dtype) for name, (attribute, dtype) in ARRAYS.items()}
        if CLOUD in group:
            arrays["clouds"] = np.asarray(group[CLOUD][:], np.float32)
        images, digests = stored_images(path, group)
        if any(len(camera) != rows for camera in images.values()):
            raise DataError("its images do not have the committed number of rows")
    except Exception as error:  # a damaged file may fail in any layer: JSON, zarr metadata, codec, file system
        what = error if isinstance(error, (DataError, ConfigError)) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is damaged ({what}); collect it again or restore a copy".replace("\n", " ")) from None
    demonstrations = Demonstrations(meta=meta, images=images, **arrays)
    if _digest(demonstrations, digests) != digest:
        raise DataError(f"{path} is damaged (it does not match its sha256); collect it again or restore a copy")
    return demonstrations


def verify_images(demonstrations: Demonstrations) -> None:
    """Read every image once; DataError names the first that is damaged."""
    for images in demonstrations.images.values():
        for part in stretches(images.shape):
            images[np.arange(part.start, part.stop)]


def read_named(path: str) -> Demonstrations | None:
    """The store that a setting names, or None where it names none."""
    return read(path) if path else None


def chunks(
    demonstrations: Demonstrations, action_horizon: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows as samples: states float32 [n, state_dim], chunks from there on float32 [n, action_horizon, action_dim].

    `rows` are int64 [n]; None means every row. Actions are displacements with the grip in the last column, so past the
    episode's end a chunk is padded with no motion and the episode's last grip: repeating the last action would teach
    the arm to drift on.
    """
    ends, actions = demonstrations.ends, demonstrations.actions
    rows = np.arange(len(actions)) if rows is None else rows
    end = ends[np.searchsorted(ends, rows, side="right")][:, None]  # [n, 1], of the row's episode
    wanted = rows[:, None] + np.arange(action_horizon)  # [n, H]
    chunk = actions[np.minimum(wanted, end - 1)]  # [n, H, A]
    chunk[wanted >= end, :-1] = 0.0
    return demonstrations.states[rows], chunk


def _problem(d: Demonstrations) -> str:
    if d.states.ndim != 2 or d.actions.ndim != 2 or len(d.states) != len(d.actions):
        return f"states {d.states.shape} and actions {d.actions.shape} must be [rows, dim] with the same rows"
    if d.states.shape[1] != len(d.meta.state_names) or d.actions.shape[1] != len(d.meta.action_names):
        return f"{d.states.shape[1]} state and {d.actions.shape[1]} action columns do not match their names"
    if (np.diff(d.ends, prepend=0) <= 0).any():
        return "an episode has no rows"
    if not (np.isfinite(d.states).all() and np.isfinite(d.actions).all()):
        return "a value is not finite"
    if d.clouds is not None:
        if d.clouds.ndim != 3 or len(d.clouds) != len(d.states) or d.clouds.shape[2] not in (3, 6):
            return f"clouds are {list(d.clouds.shape)}, not [{len(d.states)} rows, points, 3 or 6]"
        if not np.isfinite(d.clouds).all():
            return "a point is not finite"
    for camera, images in d.images.items():
        if not CAMERA.fullmatch(camera):
            return f"{camera!r} is no name for a camera: letters, digits and _, and none of state, action, cloud"
        if len(images.shape) != 4 or images.shape[0] != len(d.states) or images.shape[3] != 3:
            return f"images {camera} are {list(images.shape)}, not [{len(d.states)} rows, height, width, 3]"
        if images.dtype != np.uint8:
            return f"images {camera} are {images.dtype}, not uint8"
    return ""


def _digest(d: Demonstrations, of_images: Mapping[str, np.ndarray]) -> str:
    sha = hashlib.sha256(json.dumps(d.meta.model_dump(mode="json"), sort_keys=True).encode())
    for array in (d.states, d.actions, d.ends, *(() if d.clouds is None else (d.clouds,))):
        sha.update(repr((array.dtype.str, array.shape)).encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    for camera in sorted(of_images):
        sha.update(repr((camera, tuple(map(int, d.images[camera].shape)))).encode())
        sha.update(of_images[camera].tobytes())
    return sha.hexdigest()
