"""The simulated camera: where it stands, what it shows, and how a shift moves it."""

import numpy as np
import pytest

from tmrl_ros.config import SceneCamera, Shift, Task, Timing
from tmrl_ros.errors import ConfigError
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.sim_camera import SimCamera

CONFIG = SceneCamera(width_px=96, height_px=72, position_m=(1.2, 0.1, 0.6), target_m=(0.5, 0.1, 0.0), fovy_deg=40)


@pytest.fixture(autouse=True)
def rendering():
    try:
        SimRobot(Task(), Timing(), Shift(), 0).render()
    except ConfigError as error:
        pytest.skip(str(error))


def camera(moved_m=(0.0, 0.0, 0.0)):
    shift = Shift(camera_moved_m=moved_m)
    return SimCamera(SimRobot(Task(), Timing(), shift, 0), CONFIG, shift)


def test_it_stands_where_it_is_told_and_looks_at_its_target():
    pose = camera().base_from_camera
    np.testing.assert_allclose(pose[:3, 3], CONFIG.position_m)
    towards = np.subtract(CONFIG.target_m, CONFIG.position_m)
    np.testing.assert_allclose(pose[:3, 2], towards / np.linalg.norm(towards), atol=1e-9)
    assert abs(pose[2, 0]) < 1e-9, "the image's x is not level"


def test_depth_at_the_middle_is_that_of_the_table_it_looks_at():
    depth = camera().depth()
    assert depth.dtype == np.uint16 and depth.shape == (72, 96)
    distance_mm = 1000 * np.linalg.norm(np.subtract(CONFIG.target_m, CONFIG.position_m))
    assert depth[35:37, 47:49].mean() == pytest.approx(distance_mm, abs=6)
    assert (depth == 0).mean() < 0.5


def test_a_shift_moves_it_without_a_turn():
    still, moved = camera(), camera((0.03, -0.02, 0.01))
    off = moved.base_from_camera - still.base_from_camera
    np.testing.assert_allclose(off[:3, 3], (0.03, -0.02, 0.01), atol=1e-12)
    np.testing.assert_allclose(off[:3, :3], 0, atol=1e-12)
    assert (still.color() != moved.color()).any()


def test_the_same_moment_is_the_same_image():
    one, other = camera(), camera()
    np.testing.assert_array_equal(one.color(), other.color())
    np.testing.assert_array_equal(one.depth(), other.depth())
    assert one.color().dtype == np.uint8 and one.color().shape == (72, 96, 3)
