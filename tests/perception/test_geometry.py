"""A rendered scene through the whole pipeline: points lie on the true surfaces, in the right frame."""

import numpy as np
import pytest

from tmrl_ros.config import CloudConfig, Shift, Task, Timing
from tmrl_ros.errors import ConfigError
from tmrl_ros.perception.camera import CameraModel, Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.robot.model import CUBE_M
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.view import base_from_camera, place_camera, surface_distance

HEIGHT, WIDTH = 480, 640
MEDIAN_MAX_M = 0.003


@pytest.fixture(scope="module")
def views():
    """The simulation, its cameras by name, and their depth images in mm: the front camera and one from the side."""
    sim, cameras, depths = SimRobot(Task(), Timing(), Shift(), 0), {}, {}
    for name in ("front", "side"):
        if name == "side":
            place_camera(sim, (0.6, -0.9, 0.6), (0.5, 0.05, 0.05))
        try:
            depth_m = sim.render_depth(sim.qpos(), height=HEIGHT, width=WIDTH)
        except ConfigError as error:
            pytest.skip(str(error))
        depths[name] = np.where(depth_m < 65, np.round(depth_m * 1000), 0).astype(np.uint16)
        focal = sim.focal_px(HEIGHT)
        intrinsics = Intrinsics(WIDTH, HEIGHT, (focal, focal), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
        cameras[name] = CameraModel(intrinsics, base_from_camera(sim))
    return sim, cameras, depths


def on_cube(sim, cloud):
    """Distances of the points nearest to the cube to its surface, m, and those points."""
    distance = surface_distance(sim, cloud)
    cube = sim.model.geom("cube").id
    near = (distance.argmin(1) == cube) & (distance[:, cube] < 0.02)
    return distance[near, cube], cloud[near]


@pytest.mark.parametrize("names", [("front",), ("side",), ("front", "side")])
def test_points_lie_on_the_true_surfaces(views, names):
    sim, cameras, depths = views
    cloud = CloudPipeline(CloudConfig(), {name: cameras[name] for name in names}).build(depths)
    assert np.median(np.abs(surface_distance(sim, cloud)).min(1)) < MEDIAN_MAX_M
    distance, points = on_cube(sim, cloud)
    assert len(points) > 40
    assert np.median(np.abs(distance)) < MEDIAN_MAX_M
    top = points[points[:, 2] > 0.9 * CUBE_M]
    np.testing.assert_allclose(top[:, :2].mean(0), sim.true_objects()[0, :2], atol=0.004)


def test_noisy_images_with_flying_pixels_still_lie_on_the_surfaces(views):
    sim, cameras, depths = views
    rng, noisy = np.random.default_rng(0), {}
    for name, depth in depths.items():
        depth = depth + rng.normal(0, 2, depth.shape) + 60 * (rng.random(depth.shape) < 0.002)
        noisy[name] = np.where(rng.random(depth.shape) < 0.05, 0, depth).clip(0, 65535).astype(np.uint16)
    cloud = CloudPipeline(CloudConfig(), cameras).build(noisy)
    distance = np.abs(surface_distance(sim, cloud)).min(1)
    assert np.median(distance) < MEDIAN_MAX_M
    assert np.mean(distance > 0.015) < 0.01


def test_camera_that_is_off_by_two_centimetres_is_seen_by_this_measure(views):
    sim, cameras, depths = views
    pose = cameras["front"].base_from_camera.copy()
    pose[:3, 3] += (0.0, 0.02, 0.0)
    off = CameraModel(cameras["front"].intrinsics, pose)
    cloud = CloudPipeline(CloudConfig(), {"front": off}).build(depths)
    assert np.median(np.abs(surface_distance(sim, cloud)).min(1)) > MEDIAN_MAX_M
