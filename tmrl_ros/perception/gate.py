"""Crop and table removal before a single point exists.

What is kept is convex (a box, cut by the table's plane), so along the ray of one pixel it is one interval of depth:
p(d) = o + d v lies inside for near <= d <= far. The intervals are found once a camera pose; an image then costs two
comparisons a pixel, and only the pixels that pass become points.
"""

from dataclasses import dataclass

import numpy as np

from tmrl_ros.errors import FrameError
from tmrl_ros.perception.camera import CameraModel


@dataclass(frozen=True)
class Plane:
    """Points with normal . p >= offset_m are above it; `normal` is a unit vector [3], base frame."""

    normal: tuple[float, float, float]
    offset_m: float


class DepthGate:
    """The pixels of one camera that show something inside box and above plane."""

    def __init__(self, camera: CameraModel, box_min_m, box_max_m, plane: Plane | None, unit_m: float):
        self._camera, self._unit_m = camera, unit_m
        directions, self._origin = camera.directions(), camera.base_from_camera[:3, 3]
        near, far = box_interval(self._origin, directions, box_min_m, box_max_m)
        if plane:
            near, far = _above(plane, self._origin, directions, near, far)
        near[near > far], far[near > far] = np.inf, -np.inf
        self._near_m, self._far_m = near.astype(np.float32), far.astype(np.float32)
        self._near, self._width = _counts(near, far, unit_m)
        self._rays = directions.astype(np.float32)

    def points(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points float32 [3, n] (m, base frame) and their pixels [n]; depth [height, width] uint16 or float32 m."""
        pixels = np.flatnonzero(self._passes(self._checked(depth)))
        depth_m = depth.ravel()[pixels]
        if depth.dtype == np.uint16:
            depth_m = depth_m * np.float32(self._unit_m)
        points = np.empty((3, len(pixels)), np.float32)
        for axis in range(3):
            np.multiply(self._rays[axis][pixels], depth_m, out=points[axis])
            points[axis] += np.float32(self._origin[axis])
        return points, pixels

    def _passes(self, flat):
        if flat.dtype == np.uint16:
            return (flat - self._near) < self._width  # below near the difference wraps round and is large
        return (flat >= self._near_m) & (flat <= self._far_m)  # NaN is neither

    def _checked(self, depth):
        size = self._camera.intrinsics.size
        if depth.shape != size:
            raise FrameError(f"a depth image has shape {depth.shape}, its calibration {size}; set the camera's driver")
        if depth.dtype not in (np.uint16, np.float32):
            raise FrameError(f"a depth image has type {depth.dtype}; valid: uint16 (counts) and float32 (metres)")
        return depth.ravel()


def box_interval(origin, directions, low, high):
    """near, far [n]: depths between which origin + d * directions[:, k] lies in the box; far < near where never."""
    near, far = np.full(directions.shape[1], 1e-6), np.full(directions.shape[1], np.inf)
    for axis in range(3):
        slope = np.where(np.abs(directions[axis]) < 1e-12, 1e-12, directions[axis])
        first, second = (low[axis] - origin[axis]) / slope, (high[axis] - origin[axis]) / slope
        near, far = np.maximum(near, np.minimum(first, second)), np.minimum(far, np.maximum(first, second))
    return near, far


def _above(plane, origin, directions, near, far):
    """The part of the interval that is above the plane."""
    slope = np.asarray(plane.normal) @ directions
    slope = np.where(np.abs(slope) < 1e-12, 1e-12, slope)
    crossing = (plane.offset_m - np.dot(plane.normal, origin)) / slope
    return np.where(slope > 0, np.maximum(near, crossing), near), np.where(slope < 0, np.minimum(far, crossing), far)


def _counts(near, far, unit_m):
    """The interval as uint16 counts: first one inside, and how many; count 0 (no depth) never is inside."""
    first = np.ceil(np.clip(near / unit_m, 1, 65535))
    last = np.floor(np.clip(far / unit_m, 0, 65535))
    return first.astype(np.uint16), np.clip(last - first + 1, 0, 65535).astype(np.uint16)
