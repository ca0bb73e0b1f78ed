"""Pictures of what perception made of an image: the box it crops to, and the points before and after filtering."""

import itertools

import cv2
import numpy as np

from tmrl_ros.perception.camera import CameraModel

EDGE, BEFORE, AFTER = (255, 140, 0), (255, 60, 60), (30, 220, 60)  # rgb
NEAR_M = 0.01  # nothing that is nearer to the lens is drawn


def overlay(
    image: np.ndarray, camera: CameraModel, crop: np.ndarray, cloud: np.ndarray, box_min_m, box_max_m, scale: int = 4
) -> np.ndarray:
    """uint8 [height * scale, width * scale, 3]: `image` with the crop's box, every point in it and the final cloud.

    `crop` [3, n] and `cloud` [m, 3 or 6] are in m, base frame; where the camera has moved since it was calibrated, box
    and points lie where perception believes that they are.
    """
    picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    corners = np.array(list(itertools.product(*zip(box_min_m, box_max_m, strict=True))))
    for one, other in itertools.combinations(range(8), 2):
        if (corners[one] != corners[other]).sum() == 1:
            ends = pixels(camera, corners[[one, other]].T, scale)
            if len(ends) == 2:
                cv2.line(picture, *map(tuple, ends.tolist()), EDGE, 1, cv2.LINE_AA)
    for points, radius_px, colour in ((crop, 1, BEFORE), (cloud[:, :3].T, 2, AFTER)):
        for x, y in pixels(camera, points, scale).tolist():
            cv2.circle(picture, (x, y), radius_px, colour, -1)
    return picture


def pixels(camera: CameraModel, points: np.ndarray, scale: int = 1) -> np.ndarray:
    """int [k, 2], x and y in an image `scale` times as large, of those points [3, n] m that are before the lens."""
    pose = camera.base_from_camera
    seen = pose[:3, :3].T @ (points - pose[:3, 3:])
    seen = camera.intrinsics.matrix @ seen[:, seen[2] > NEAR_M]
    return np.round((seen[:2] / seen[2]).T * scale).astype(int)
