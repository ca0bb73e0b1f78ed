"""From many points to a fixed number: voxel centroids, outliers out, farthest point sampling."""

import itertools

import numpy as np

from tmrl_ros.errors import ConfigError

CELLS_MAX = 50_000_000  # of the grid: 400 MB


class VoxelGrid:
    """Centroids of the voxels of a box, less the outliers: voxels with few points in them and their 26 neighbours.

    The grid is dense memory that is written and read only where points are, so its size costs no time.
    """

    MARGIN = 2  # empty voxels around the box: each voxel has neighbours, and rounding at a face does no harm

    def __init__(self, box_min_m, box_max_m, voxel_m: float, neighbours: int):
        self._low, self._voxel_m, self._neighbours = np.asarray(box_min_m), voxel_m, neighbours
        size = np.ceil((np.asarray(box_max_m) - self._low) / voxel_m).astype(np.int64) + 2 * self.MARGIN
        if (size <= 2 * self.MARGIN).any() or np.prod(size) > CELLS_MAX:
            raise ConfigError(
                f"a crop from {tuple(box_min_m)} to {tuple(box_max_m)} m makes {size.tolist()} voxels of {voxel_m} m; "
                f"between 1 and {CELLS_MAX} are possible: set crop_min_m below crop_max_m, or a larger voxel_m"
            )
        self._strides = np.array([size[1] * size[2], size[2], 1], np.int32)
        self._around = np.array([np.dot(o, self._strides) for o in itertools.product((-1, 0, 1), repeat=3)], np.int32)
        self._counts = np.zeros(np.prod(size), np.int32)  # all 0 between calls
        self._index = np.empty(np.prod(size), np.int32)

    def centroids(self, points: np.ndarray, values: np.ndarray) -> np.ndarray:
        """float32 [m, 3 + k], in the order of the voxels: means of points [3, n] (m) and values [k, n] by voxel."""
        cells = self._cells(points)
        ordered = np.sort(cells)
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        voxels, counts = ordered[starts], np.diff(starts, append=len(ordered))
        self._counts[voxels] = counts
        crowd = self._counts[voxels[:, None] + self._around].sum(1)
        self._counts[voxels] = 0
        self._index[voxels] = np.arange(len(voxels), dtype=np.int32)
        index = self._index[cells]
        sums = [np.bincount(index, row, len(voxels)) for row in (*points, *values)]
        return (np.stack(sums, 1) / counts[:, None])[crowd >= self._neighbours].astype(np.float32)

    def _cells(self, points):
        """The voxel of each point, int32 [n]."""
        cells = np.zeros(points.shape[1], np.int32)
        scale = np.float32(1 / self._voxel_m)
        for axis, stride in enumerate(self._strides):
            offset = np.float32(self.MARGIN - self._low[axis] / self._voxel_m)
            cells += (points[axis] * scale + offset).astype(np.int32) * stride
        return cells


def farthest_points(points: np.ndarray, count: int, first: int) -> np.ndarray:
    """Indices [count]: each next point is the one farthest from all before it; starts at index `first`.

    |p - q|^2 = |p|^2 + |q|^2 - 2 p.q is one product of a [5] with a [5, n], which is all the work of a step.
    """
    centred = points - points.mean(0)
    square = (centred**2).sum(1)
    one = np.ones_like(square)
    left = np.ascontiguousarray(np.column_stack([-2 * centred, square, one]), np.float32)
    right = np.ascontiguousarray(np.column_stack([centred, one, square]).T, np.float32)
    nearest, step = np.full(len(points), np.inf, np.float32), np.empty(len(points), np.float32)
    chosen = np.empty(count, np.int64)
    for k in range(count):
        chosen[k] = first
        np.dot(left[first], right, out=step)
        np.minimum(nearest, step, out=nearest)
        nearest[first] = -1  # rounding must not let it be chosen again
        first = nearest.argmax()
    return chosen


def fixed_size(points: np.ndarray, count: int, start: float) -> np.ndarray:
    """`count` rows of points [m, 3 + k]: the farthest ones where there are more, all of them over again where fewer.

    `start` in [0, 1) says which point is the first.
    """
    chosen = farthest_points(points[:, :3], min(count, len(points)), int(start * len(points)))
    return points[np.resize(chosen, count)]
