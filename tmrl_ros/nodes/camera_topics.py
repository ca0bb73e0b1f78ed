"""Topics of one camera, named as realsense-ros does, and its camera_info as intrinsics."""

from typing import NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from tmrl_ros.errors import DataError
from tmrl_ros.nodes import convert
from tmrl_ros.nodes.topics import Topic
from tmrl_ros.perception.camera import Intrinsics

DISTORTION_MAX_PX = 0.5  # in a corner of the image; beyond it a pinhole is the wrong model


class CameraTopics(NamedTuple):
    color: Topic  # rgb8
    depth: Topic  # 16UC1, mm, aligned to colour
    info: Topic  # of both


def camera_topics(prefix: str) -> CameraTopics:
    """`prefix` is camera namespace and camera name, such as camera/front."""
    return CameraTopics(
        Topic(f"{prefix}/color/image_raw", Image),
        Topic(f"{prefix}/aligned_depth_to_color/image_raw", Image),
        Topic(f"{prefix}/color/camera_info", CameraInfo),
    )


def optical_frame(camera: str) -> str:
    return f"{camera}_color_optical_frame"


def info_msg(stamp_ns: int, frame: str, intrinsics: Intrinsics, distortion=(0.0,) * 5) -> CameraInfo:
    """A pinhole, with the five coefficients of plumb_bob."""
    (fx, fy), (cx, cy) = intrinsics.focal_px, intrinsics.centre_px
    return CameraInfo(
        header=Header(stamp=convert.to_time(stamp_ns), frame_id=frame),
        height=intrinsics.height_px,
        width=intrinsics.width_px,
        distortion_model="plumb_bob",
        d=[float(value) for value in distortion],
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def intrinsics_from(message: CameraInfo) -> Intrinsics:
    """The pinhole, or DataError where lens distortion moves a corner of the image by more than DISTORTION_MAX_PX."""
    k = message.k
    intrinsics = Intrinsics(message.width, message.height, (k[0], k[4]), (k[2], k[5]))
    moved_px = _distortion_px(intrinsics, np.array(message.d, float))
    if not moved_px <= DISTORTION_MAX_PX:
        raise DataError(
            f"the lens of {message.header.frame_id} moves a corner of its image by {moved_px:.1f} px, "
            f"{DISTORTION_MAX_PX} are allowed; publish rectified images and their camera_info"
        )
    return intrinsics


def _distortion_px(intrinsics, coefficients):
    if not coefficients.any():
        return 0.0
    right, low = intrinsics.width_px - 1.0, intrinsics.height_px - 1.0
    corners = np.array([(0, 0), (right, 0), (0, low), (right, low)])
    seen = cv2.undistortPoints(corners[:, None], intrinsics.matrix, coefficients, P=intrinsics.matrix)[:, 0]
    return float(np.linalg.norm(seen - corners, axis=1).max())
