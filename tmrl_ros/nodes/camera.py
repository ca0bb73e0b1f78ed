"""The simulated front camera behind realsense-ros's topics: colour, aligned depth, intrinsics."""

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from tmrl_ros.nodes import convert
from tmrl_ros.nodes.topics import Topic
from tmrl_ros.robot.sim import SimRobot

HEIGHT_PX, WIDTH_PX = 240, 320
FRAME = "camera_color_optical_frame"
COLOR = Topic("camera/camera/color/image_raw", Image)
DEPTH = Topic("camera/camera/aligned_depth_to_color/image_raw", Image)
INFO = Topic("camera/camera/color/camera_info", CameraInfo)


class SimCamera:
    """Publishes what the camera sees at the simulation's present stamp; `node` is an rclpy node."""

    def __init__(self, node, sim: SimRobot):
        self._sim = sim
        self._color = COLOR.publisher(node)
        self._depth = DEPTH.publisher(node)
        self._info = INFO.publisher(node)

    def publish(self):
        sim, stamp_ns = self._sim, self._sim.stamp_ns
        color = sim.render(height=HEIGHT_PX, width=WIDTH_PX)
        depth_m = sim.render_depth(height=HEIGHT_PX, width=WIDTH_PX)
        millimetres = np.where(depth_m < 65.0, np.round(depth_m * 1000), 0).astype(np.uint16)  # 0: nothing seen
        message = convert.image_msg(stamp_ns, FRAME, color)
        self._color.publish(message)
        self._depth.publish(convert.image_msg(stamp_ns, FRAME, millimetres))
        self._info.publish(camera_info(message.header, sim.focal_px(HEIGHT_PX)))


def camera_info(header, focal_px: float) -> CameraInfo:
    """A pinhole without distortion, centred."""
    cx, cy = (WIDTH_PX - 1) / 2, (HEIGHT_PX - 1) / 2
    return CameraInfo(
        header=header,
        height=HEIGHT_PX,
        width=WIDTH_PX,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
