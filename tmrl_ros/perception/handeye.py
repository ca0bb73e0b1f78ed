"""Where a camera sits, from views of a board while the arm moves one of the two.

With A_i the moving chain, X the wanted camera pose, C_i the board seen by the camera and Y the board's unknown place:

    A_i X C_i = Y     eye in hand: A = base_from_gripper,  X = gripper_from_camera, Y = base_from_board
                      eye to hand: A = gripper_from_base,  X = base_from_camera,    Y = gripper_from_board

A closed form (Park and Martin, 1994) starts a least squares over X and Y on the corners in all images at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from tmrl_ros.config import CalibrationLimits
from tmrl_ros.errors import CalibrationError
from tmrl_ros.perception.board import BoardView, board_pose
from tmrl_ros.perception.camera import Intrinsics, rigid

Mount = Literal["eye_to_hand", "eye_in_hand"]
OUTLIER_PX = 1.0  # from here on a corner's error counts less than squared


@dataclass(frozen=True)
class HandEye:
    """The camera's pose and how far it can be trusted."""

    parent_from_camera: np.ndarray  # float64 [4, 4]; parent is the base (eye to hand) or the gripper (eye in hand)
    views: int
    reprojection_px: float  # rms over all corners, through the arm's poses
    board_m: float  # rms over views of where each alone puts the board, against where it is
    board_deg: float
    position_std_m: float  # of the camera's position by the curvature of the fit, largest axis


def solve_hand_eye(
    views: Sequence[BoardView],
    base_from_gripper: Sequence[np.ndarray],
    intrinsics: Intrinsics,
    mount: Mount,
    limits: CalibrationLimits,
) -> HandEye:
    """The camera's pose from views and the gripper's pose [4, 4] at each, or CalibrationError."""
    if len(views) != len(base_from_gripper) or len(views) < limits.views_min:
        raise CalibrationError(
            f"{len(views)} views and {len(base_from_gripper)} poses of the arm; at least {limits.views_min} pairs are "
            "needed"
        )
    chain = np.stack([rigid(pose, "base_from_gripper") for pose in base_from_gripper])
    chain = chain if mount == "eye_in_hand" else np.linalg.inv(chain)
    _check_turns(chain, limits)
    seen = np.stack([board_pose(view, intrinsics) for view in views])
    fit = _refine(chain, views, intrinsics, _closed_form(chain, seen), seen)
    result = _judged(fit, chain, seen, sum(len(view.board_m) for view in views))
    _check_quality(result, limits)
    return result


def _check_turns(chain, limits):
    """Turns about one axis leave the camera's place along it open: the second axis must be exercised, too."""
    relative = Rotation.from_matrix(chain[0, :3, :3].T @ chain[:, :3, :3]).as_rotvec(degrees=True)
    spread = np.linalg.svd(relative, compute_uv=False)[1] / np.sqrt(len(relative))
    if spread < limits.rotation_deg:
        raise CalibrationError(
            f"the hand turned by {spread:.1f} degrees about its second axis, {limits.rotation_deg} are needed; tilt it "
            "in different directions between views"
        )


def _closed_form(chain, seen):
    rotation, position = cv2.calibrateHandEye(
        list(chain[:, :3, :3]), list(chain[:, :3, 3]), list(seen[:, :3, :3]), list(seen[:, :3, 3]),
        method=cv2.CALIB_HAND_EYE_PARK,
    )  # fmt: skip
    try:
        return _pose(Rotation.from_matrix(rotation), position.ravel())
    except ValueError:  # a mirror image, or not a number
        raise CalibrationError(
            "no camera pose fits; check that images and arm poses belong together, and which of camera and board is on "
            "the hand"
        ) from None


def _refine(chain, views, intrinsics, camera, seen):
    """least_squares' result over [rotation vector, position] of camera and board."""
    boards = chain @ camera @ seen
    board = _pose(Rotation.from_matrix(boards[:, :3, :3]).mean(), boards[:, :3, 3].mean(0))
    index = np.repeat(np.arange(len(views)), [len(view.board_m) for view in views])
    points = np.concatenate([view.board_m for view in views])
    image_px = np.concatenate([view.image_px for view in views])
    inverse = np.linalg.inv(chain)[index]

    def errors_px(parameters):
        camera, board = _poses(parameters)
        on_parent = np.einsum("nij,nj->ni", inverse[:, :3, :3], points @ board[:3, :3].T + board[:3, 3])
        local = (on_parent + inverse[:, :3, 3] - camera[:3, 3]) @ camera[:3, :3]
        projected = local @ intrinsics.matrix.T
        return (projected[:, :2] / projected[:, 2:] - image_px).ravel()

    start = np.concatenate([_parameters(camera), _parameters(board)])
    fit = least_squares(errors_px, start, x_scale="jac", loss="soft_l1", f_scale=OUTLIER_PX)
    fit.fun = errors_px(fit.x)
    return fit


def _judged(fit, chain, seen, corners):
    camera, board = _poses(fit.x)
    apart = np.linalg.inv(board) @ chain @ camera @ seen
    angle_deg = np.degrees(Rotation.from_matrix(apart[:, :3, :3]).magnitude())
    variance = (fit.fun**2).sum() / max(2 * corners - len(fit.x), 1)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * variance
    return HandEye(
        parent_from_camera=camera,
        views=len(chain),
        reprojection_px=float(np.sqrt((fit.fun**2).sum() / corners)),
        board_m=float(np.sqrt((apart[:, :3, 3] ** 2).sum(1).mean())),
        board_deg=float(np.sqrt((angle_deg**2).mean())),
        position_std_m=float(np.sqrt(np.diag(covariance)[3:6].max())),
    )


def _check_quality(result, limits):
    for name, unit in (("reprojection_px", "px"), ("board_m", "m"), ("board_deg", "deg"), ("position_std_m", "m")):
        value, limit = getattr(result, name), getattr(limits, name)
        if not value <= limit:
            raise CalibrationError(
                f"{name} is {value:.4g} {unit}, {limit} are allowed; check the board's size, that nothing slipped, and "
                "that images and arm poses belong together, then take more views"
            )


def _pose(rotation, position):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), position
    return pose


def _parameters(pose):
    return np.concatenate([Rotation.from_matrix(pose[:3, :3]).as_rotvec(), pose[:3, 3]])


def _poses(parameters):
    return [_pose(Rotation.from_rotvec(p[:3]), p[3:]) for p in (parameters[:6], parameters[6:])]
