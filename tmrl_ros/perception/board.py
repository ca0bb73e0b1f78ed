"""Finds a ChArUco board in an image."""

from dataclasses import dataclass

import cv2
import numpy as np

from tmrl_ros.config import BoardConfig
from tmrl_ros.errors import ConfigError, FrameError
from tmrl_ros.perception.camera import Intrinsics

CORNER_OFFSET_PX = 0.5  # OpenCV's ChArUco corners count from the image's corner, ours from the first pixel's centre


@dataclass(frozen=True)
class BoardView:
    """Inner corners that one image shows: where they are on the board, m, float64 [n, 3], and in the image [n, 2]."""

    board_m: np.ndarray
    image_px: np.ndarray


class Board:
    """The board's frame: origin in a corner of its print, x along the columns, y along the rows."""

    def __init__(self, config: BoardConfig):
        if config.marker_m >= config.square_m:
            raise ConfigError(f"marker_m = {config.marker_m} must be smaller than square_m = {config.square_m}")
        if not hasattr(cv2.aruco, "CharucoDetector"):
            raise ConfigError(f"OpenCV {cv2.__version__} is too old for ChArUco boards; install 4.8 or newer")
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, config.dictionary))
        self.config = config
        self._board = cv2.aruco.CharucoBoard(
            (config.columns, config.rows), config.square_m, config.marker_m, dictionary
        )
        self._detector = cv2.aruco.CharucoDetector(self._board)

    def picture(self, px_per_square: int) -> np.ndarray:
        """uint8 [rows, columns] * px_per_square: the board, to be printed."""
        return self._board.generateImage((self.config.columns * px_per_square, self.config.rows * px_per_square))

    def detect(self, image: np.ndarray) -> BoardView:
        """The board in image uint8 [height, width] or [height, width, 3] rgb, or FrameError."""
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise FrameError(f"an image for calibration is {image.dtype} {image.shape}; it must be uint8, grey or rgb")
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        corners, ids, _, _ = self._detector.detectBoard(grey)
        found, needed = 0 if ids is None else len(ids), self.config.corners_min
        if found < needed:
            raise FrameError(
                f"{found} corners of the board found, {needed} are needed; show more of it, sharp and well lit, and "
                f"check that it is {self.config.columns}x{self.config.rows} of {self.config.dictionary}"
            )
        on_board = self._board.getChessboardCorners()[ids.ravel()].astype(np.float64)
        return BoardView(on_board, corners.reshape(-1, 2).astype(np.float64) - CORNER_OFFSET_PX)


def board_pose(view: BoardView, intrinsics: Intrinsics) -> np.ndarray:
    """camera_from_board, float64 [4, 4], from one view alone."""
    found, rotation, position = cv2.solvePnP(
        view.board_m, view.image_px, intrinsics.matrix, None, flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        raise FrameError(f"no pose fits the {len(view.board_m)} corners; show more of the board")
    rotation, position = cv2.solvePnPRefineLM(view.board_m, view.image_px, intrinsics.matrix, None, rotation, position)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], position.ravel()
    return pose
