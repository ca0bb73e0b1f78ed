"""Finds the table's top in a cloud, where its height is not known."""

import numpy as np

from tmrl_ros.errors import FrameError
from tmrl_ros.perception.gate import Plane

TRIES = 200
SAMPLE = 5000  # points that vote
TOLERANCE_M = 0.006  # of the points that belong to a plane
SHARE_MIN = 0.2  # of the points in the crop, that a table has
TILT_MAX = 0.26  # rad against the base's xy plane


def fit_table(points: np.ndarray, seed: int) -> Plane:
    """The nearly level plane that most of points [3, n] (m, base frame) agree on, by RANSAC and least squares."""
    if points.shape[1] < 3:
        raise FrameError(f"no table to be seen: {points.shape[1]} points in the crop; check camera pose and crop")
    rng = np.random.default_rng(seed)
    votes = points[:, rng.integers(points.shape[1], size=SAMPLE)].astype(np.float64)
    normals, offsets = _candidates(votes, rng)
    agree = np.abs(normals @ votes - offsets[:, None]) < TOLERANCE_M
    best = agree.sum(1).argmax() if len(agree) else None
    share = 0.0 if best is None else agree[best].mean()
    if share < SHARE_MIN:
        raise FrameError(
            f"no table to be seen: the best level plane has {share:.0%} of the points in the crop, {SHARE_MIN:.0%} are "
            "needed; let the crop reach below the table, or give table_height_m with table: height"
        )
    return _refined(votes[:, agree[best]])


def _candidates(votes, rng):
    """Unit normals [k, 3] and offsets [k] of planes through three points each, steep ones left out."""
    a, b, c = votes.T[rng.integers(votes.shape[1], size=(3, TRIES))]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    level = np.abs(normals[:, 2]) > np.cos(TILT_MAX) * np.maximum(length, 1e-9)
    normals = normals[level] / length[level, None]
    return normals, (normals * a[level]).sum(1)


def _refined(inliers):
    centre = inliers.mean(1)
    normal = np.linalg.svd((inliers - centre[:, None]), full_matrices=False)[0][:, 2]
    normal *= np.sign(normal[2])
    return Plane(tuple(normal.tolist()), float(normal @ centre))
