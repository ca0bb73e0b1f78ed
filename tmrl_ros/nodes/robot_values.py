"""What an observation beside images takes from the robot's topics: topic and conversion of each source."""

import numpy as np
from geometry_msgs.msg import PoseStamped
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState

from tmrl_ros import fr3
from tmrl_ros.errors import DataError
from tmrl_ros.nodes import convert, topics


def pose_from(message: PoseStamped) -> np.ndarray:
    """float64 [4, 4]: the pose in the frame of the header, m."""
    q = message.pose.orientation
    quaternion = np.array((q.x, q.y, q.z, q.w))
    if not abs(np.linalg.norm(quaternion) - 1) < 1e-3:
        raise DataError(f"a pose has the quaternion {quaternion.tolist()}; its length must be 1")
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_quat(quaternion).as_matrix(), convert.position_of(message)
    return pose


def joints_from(message: JointState) -> np.ndarray:
    """float64 [7], rad, in the order of fr3.JOINT_NAMES."""
    positions = dict(zip(message.name, message.position, strict=False))
    missing = [name for name in fr3.JOINT_NAMES if name not in positions]
    if missing:
        raise DataError(f"joint state has no {missing[0]}; it names {', '.join(message.name) or 'nothing'}")
    q = np.array([positions[name] for name in fr3.JOINT_NAMES])
    if not np.isfinite(q).all():
        raise DataError("joint state holds NaN or infinity; check its publisher")
    return q


SOURCES = {
    "joints": (topics.JOINT_STATES, joints_from),
    "tcp": (topics.CURRENT_POSE, pose_from),
    "desired_tcp": (topics.DESIRED_POSE, convert.position_of),
    "width": (topics.GRIPPER_STATES, convert.fingers_width),
    "objects": (topics.OBJECTS, convert.objects_from),
}
