"""Training batches of random rows, from a store or anything read like one."""

from collections.abc import Collection

import numpy as np

from tmrl_ros.data.store import Demonstrations, chunks
from tmrl_ros.errors import DataError


class Batches:
    """Rows of demonstrations as arrays by name: "state", "action_chunk", and the name of each camera.

    States and actions are in memory, 4 bytes a number. Images are read from the disk row by row, and only those asked
    for, so what a batch takes is its own size, however large the store.
    """

    def __init__(self, demonstrations: Demonstrations, action_horizon: int = 1, cameras: Collection[str] | None = None):
        """`cameras` are those to read; None means all. Raises DataError if there is none of a name."""
        cameras = tuple(demonstrations.images) if cameras is None else tuple(cameras)
        unknown = [camera for camera in cameras if camera not in demonstrations.images]
        if unknown:
            there = ", ".join(demonstrations.images) or "no images"
            raise DataError(f"The store has no camera {unknown[0]!r}; it has: {there}")
        self._demonstrations, self._action_horizon, self.cameras = demonstrations, action_horizon, cameras

    def __len__(self) -> int:
        return len(self._demonstrations.states)

    def rows(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """States float32 [n, state_dim], chunks float32 [n, action_horizon, action_dim], images uint8 [n, h, w, 3].

        Raises DataError if an image is damaged.
        """
        rows = np.asarray(rows, np.int64)
        states, chunk = chunks(self._demonstrations, self._action_horizon, rows)
        images = {camera: self._demonstrations.images[camera][rows] for camera in self.cameras}
        return {"state": states, "action_chunk": chunk, **images}

    def sample(self, rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        """`batch` rows drawn at random, with replacement."""
        return self.rows(rng.integers(0, len(self), batch))
