"""The simulated front camera behind realsense-ros's topics: colour, aligned depth, intrinsics."""

import numpy as np

from tmrl_ros.nodes import convert
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg, optical_frame
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.robot.sim import SimRobot

HEIGHT_PX, WIDTH_PX = 240, 320
NAME = "camera"
FRAME = optical_frame(NAME)
COLOR, DEPTH, INFO = camera_topics(f"camera/{NAME}")


class SimCamera:
    """Publishes what the camera sees at the simulation's present stamp; `node` is an rclpy node.

    What it publishes is kept for readers that are discovered late: in lockstep a lost image would be waited for.
    """

    def __init__(self, node, sim: SimRobot):
        self._sim = sim
        self._color, self._depth, self._info = (topic.lossless(True).publisher(node) for topic in (COLOR, DEPTH, INFO))

    def publish(self):
        sim, stamp_ns = self._sim, self._sim.stamp_ns
        color = sim.render(height=HEIGHT_PX, width=WIDTH_PX)
        depth_m = sim.render_depth(height=HEIGHT_PX, width=WIDTH_PX)
        millimetres = np.where(depth_m < 65.0, np.round(depth_m * 1000), 0).astype(np.uint16)  # 0: nothing seen
        self._info.publish(info_msg(stamp_ns, FRAME, intrinsics_of(sim)))
        self._color.publish(convert.image_msg(stamp_ns, FRAME, color))
        self._depth.publish(convert.image_msg(stamp_ns, FRAME, millimetres))


def intrinsics_of(sim: SimRobot) -> Intrinsics:
    """A pinhole, centred."""
    focal_px = sim.focal_px(HEIGHT_PX)
    return Intrinsics(WIDTH_PX, HEIGHT_PX, (focal_px, focal_px), ((WIDTH_PX - 1) / 2, (HEIGHT_PX - 1) / 2))
