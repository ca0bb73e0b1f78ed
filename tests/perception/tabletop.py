"""A camera that looks straight down on a table with a block: depth, colour and calibration without a renderer."""

import numpy as np

from tmrl_ros.perception.calibration import Calibration, CameraCalibration
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.perception.handeye import HandEye

WIDTH, HEIGHT, ABOVE_M, BLOCK_M = 160, 120, 1.0, 0.1
INTRINSICS = Intrinsics(WIDTH, HEIGHT, (140.0, 140.0), (79.5, 59.5))
CLOUD = {"points": 128, "neighbours": 4, "points_min": 32}
DOWN = np.array([[1.0, 0, 0, 0.5], [0, -1, 0, 0], [0, 0, -1, ABOVE_M], [0, 0, 0, 1]])  # base_from_camera


def depth(seed):
    """uint16 mm, with a millimetre of noise: no two are equal."""
    image = np.full((HEIGHT, WIDTH), 1000 * ABOVE_M)
    image[45:75, 60:100] = 1000 * (ABOVE_M - BLOCK_M)
    return np.round(image + np.random.default_rng(seed).normal(0, 0.7, image.shape)).astype(np.uint16)


def colour(seed):
    """uint8 rgb: red, more of it to the right."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = np.arange(WIDTH) + seed % 8
    return image


def calibration(mount="eye_to_hand", pose=DOWN, names=("front",)):
    solved = HandEye(pose, 10, 0.2, 0.001, 0.1, 0.0005)
    made = CameraCalibration.of("7", mount, INTRINSICS, solved)
    return Calibration(cameras=dict.fromkeys(names, made))
