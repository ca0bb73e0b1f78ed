"""Names of camera topics, camera_info to intrinsics, and the robot's values beside images."""

import numpy as np
import pytest

pytest.importorskip("rclpy")
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState

from tmrl_ros import fr3
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.nodes import camera, convert
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg, intrinsics_from, optical_frame
from tmrl_ros.nodes.robot_values import joints_from, pose_from
from tmrl_ros.perception.camera import Intrinsics

LENS = Intrinsics(640, 480, (615.0, 614.0), (321.0, 238.0))


def test_topics_are_named_as_realsense_ros_names_them():
    names = [topic.name for topic in camera_topics("camera/front")]
    assert names == [
        "camera/front/color/image_raw",
        "camera/front/aligned_depth_to_color/image_raw",
        "camera/front/color/camera_info",
    ]
    assert optical_frame("front") == "front_color_optical_frame"
    assert camera.COLOR.name == "camera/camera/color/image_raw"


def test_intrinsics_survive_their_message():
    assert intrinsics_from(info_msg(7, "front", LENS)) == LENS


@pytest.mark.parametrize("coefficients", [(1e-6, 0, 0, 0, 0), (0, 0, 1e-5, 0, 0)])
def test_a_lens_that_is_nearly_a_pinhole_is_taken_for_one(coefficients):
    assert intrinsics_from(info_msg(7, "front", LENS, coefficients)) == LENS


@pytest.mark.parametrize("coefficients", [(-0.05, 0.06, 0, 0, -0.02), (0, 0, 0.01, 0, 0), (float("nan"), 0, 0, 0, 0)])
def test_a_lens_that_distorts_is_refused_with_how_much(coefficients):
    with pytest.raises(DataError, match=r"the lens of front moves a corner of its image by (\d+\.\d|nan) px"):
        intrinsics_from(info_msg(7, "front", LENS, coefficients))


def test_a_camera_info_that_was_never_filled_is_refused():
    message = info_msg(7, "front", LENS)
    message.k[:] = 0.0
    with pytest.raises(ConfigError, match="take size and K from its camera_info"):
        intrinsics_from(message)


def test_a_pose_keeps_place_and_turn():
    turn = Rotation.from_euler("xyz", (0.3, -0.2, 1.0))
    pose = pose_from(convert.pose_msg(7, (0.4, 0.1, 0.3), turn.as_quat()))
    np.testing.assert_allclose(pose[:3, :3], turn.as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(pose[:, 3], (0.4, 0.1, 0.3, 1.0))


@pytest.mark.parametrize(
    ("position", "quaternion", "sentence"),
    [
        ((0, 0, 0), (0, 0, 0, 0), "its length must be 1"),
        ((0, 0, 0), (np.nan, 0, 0, 1), "its length must be 1"),
        ((np.inf, 0, 0), (0, 0, 0, 1), "NaN or infinity"),
    ],
)
def test_a_pose_that_is_none_is_refused(position, quaternion, sentence):
    with pytest.raises(DataError, match=sentence):
        pose_from(convert.pose_msg(7, position, quaternion))


def test_joints_come_in_our_order_whatever_the_messages_is():
    names = ["finger", *reversed(fr3.JOINT_NAMES)]
    message = JointState(name=names, position=[9.0, *map(float, range(7))])
    np.testing.assert_array_equal(joints_from(message), range(6, -1, -1))


@pytest.mark.parametrize(
    ("names", "positions", "sentence"),
    [
        (fr3.JOINT_NAMES[1:], [0.0] * 6, "has no fr3_joint1"),
        (fr3.JOINT_NAMES, [0.0] * 6, "has no fr3_joint7"),
        ((), [], "names nothing"),
        (fr3.JOINT_NAMES, [float("nan")] * 7, "NaN or infinity"),
    ],
)
def test_joints_that_are_missing_or_no_numbers_are_refused(names, positions, sentence):
    with pytest.raises(DataError, match=sentence):
        joints_from(JointState(name=names, position=positions))
