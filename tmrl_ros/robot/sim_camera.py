"""The camera of the simulated scene as its topics and in-process sessions show it: colour and aligned depth."""

import numpy as np

from tmrl_ros.config import SceneCamera, Shift
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.view import base_from_camera, place_camera

FAR_M = 65.0  # of a uint16 image in mm; beyond it nothing is seen


class SimCamera:
    """Takes its place in `sim`, moved by the shift; where it is calibrated to be tells nothing of that."""

    def __init__(self, sim: SimRobot, config: SceneCamera, shift: Shift):
        self._sim, self.config = sim, config
        place_camera(
            sim, np.add(config.position_m, shift.camera_moved_m), np.add(config.target_m, shift.camera_moved_m)
        )
        sim.model.camera("front").fovy[0] = config.fovy_deg

    @property
    def focal_px(self) -> float:
        return self._sim.focal_px(self.config.height_px)

    @property
    def base_from_camera(self) -> np.ndarray:
        """float64 [4, 4], where the optical frame truly is."""
        return base_from_camera(self._sim)

    def color(self) -> np.ndarray:
        """uint8 [height, width, 3] rgb of this moment."""
        return self._sim.render(height=self.config.height_px, width=self.config.width_px, shadows=False)

    def depth(self) -> np.ndarray:
        """uint16 [height, width] mm of this moment; 0: nothing seen."""
        depth_m = self._sim.render_depth(height=self.config.height_px, width=self.config.width_px)
        return np.where(depth_m < FAR_M, np.round(depth_m * 1000), 0).astype(np.uint16)
