"""Pictures of crop and cloud: what is drawn where."""

import numpy as np
import tabletop

from tmrl_ros.config import CloudConfig
from tmrl_ros.perception.camera import CameraModel
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.overlay import AFTER, BEFORE, EDGE, overlay, pixels

CAMERA = CameraModel(tabletop.INTRINSICS, tabletop.DOWN)
CONFIG = CloudConfig(**tabletop.CLOUD)


def test_a_pixel_with_its_depth_comes_back_to_that_pixel():
    points = CAMERA.directions() * 0.9 + tabletop.DOWN[:3, 3:]
    at = pixels(CAMERA, points)
    v, u = np.divmod(np.arange(len(at)), tabletop.WIDTH)
    np.testing.assert_array_equal(at, np.stack([u, v], 1))


def test_what_is_behind_the_lens_is_left_out():
    assert len(pixels(CAMERA, np.array([[0.5, 0.5], [0, 0], [0.5, 1.5]]))) == 1


def test_crop_and_cloud_lie_on_the_block_and_the_box_around_them():
    pipeline, depth = CloudPipeline(CONFIG, {"front": CAMERA}), {"front": tabletop.depth(0)}
    crop, cloud = pipeline.crop(depth), pipeline.build(depth)
    picture = overlay(tabletop.colour(0), CAMERA, crop, cloud, (0.3, -0.2, 0.0), (0.7, 0.2, 0.2), scale=8)
    assert picture.shape == (8 * tabletop.HEIGHT, 8 * tabletop.WIDTH, 3)
    for colour in (BEFORE, AFTER):
        rows, columns = np.nonzero((picture == colour).all(-1))
        assert len(rows) > 500
        assert rows.min() >= 8 * 43 and rows.max() < 8 * 77 and columns.min() >= 8 * 58 and columns.max() < 8 * 102
    assert (picture == EDGE).all(-1).any()
