"""The simulated front camera behind realsense-ros's topics: colour, aligned depth, intrinsics."""

from tmrl_ros.config import SimConfig
from tmrl_ros.nodes import convert
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg, optical_frame
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.sim_camera import SimCamera

NAME = "camera"
FRAME = optical_frame(NAME)
COLOR, DEPTH, INFO = camera_topics(f"camera/{NAME}")


class CameraPublisher:
    """Publishes what the camera sees at the simulation's present stamp; `node` is an rclpy node.

    What it publishes is kept for readers that are discovered late: in lockstep a lost image would be waited for.
    """

    def __init__(self, node, sim: SimRobot, config: SimConfig):
        self._sim, self._camera = sim, SimCamera(sim, config.camera, config.shift)
        self._color, self._depth, self._info = (topic.lossless(True).publisher(node) for topic in (COLOR, DEPTH, INFO))

    def watched(self) -> bool:
        """Whether anyone listens to its images."""
        return any(publisher.get_subscription_count() for publisher in (self._color, self._depth))

    def publish(self):
        camera, stamp_ns = self._camera, self._sim.stamp_ns
        lens = Intrinsics.centred(camera.config.width_px, camera.config.height_px, camera.focal_px)
        self._info.publish(info_msg(stamp_ns, FRAME, lens))
        self._color.publish(convert.image_msg(stamp_ns, FRAME, camera.color()))
        self._depth.publish(convert.image_msg(stamp_ns, FRAME, camera.depth()))
