"""The rendered scene through the perception of a robot, in one process: frames and values in, Observations out."""

import time
from pathlib import Path

import numpy as np

from tmrl_ros.config import PerceptionConfig, SimConfig
from tmrl_ros.errors import ConfigError
from tmrl_ros.perception.calibration import Calibration, CameraCalibration
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.perception.faults import Frame
from tmrl_ros.perception.observer import Observer, lens_id
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.sim_camera import SimCamera
from tmrl_ros.types import Observation


class Seeing:
    """One simulated camera before an Observer, which is told what the nodes' topics would tell it."""

    def __init__(self, config: PerceptionConfig, calibration: Calibration, camera: SimCamera):
        self._observer, self._camera = Observer(config, calibration, time.monotonic()), camera
        self._lens = lens_id(intrinsics_of(camera))

    @classmethod
    def through(cls, config: PerceptionConfig, sim: SimRobot, sim_config: SimConfig) -> "Seeing":
        """Raises ConfigError where the session's graph could not see either."""
        if not sim_config.render or len(config.cameras) != 1:
            raise ConfigError(
                f"perception looks through {', '.join(config.cameras)}, and sim.render is {sim_config.render}; the "
                "simulation has one camera: set render to true, and name it alone"
            )
        return cls(
            config, Calibration.read(Path(config.calibration)), SimCamera(sim, sim_config.camera, sim_config.shift)
        )

    def observe(self, sim: SimRobot) -> Observation | None:
        """What perception makes of this moment; None where its images make no observation (`problem`)."""
        stamp_ns, seen, now_s = sim.stamp_ns, None, time.monotonic()
        for source in self._observer.sources:
            self._observer.value(source, stamp_ns, VALUES[source](sim), stamp_ns, now_s)
        for stream in self._observer.streams:
            depth = stream.endswith("/depth")
            image = self._camera.depth() if depth else self._camera.color()
            frame = Frame(stamp_ns, "16UC1" if depth else "rgb8", image, self._lens)
            seen = self._observer.frame(stream, frame, stamp_ns, now_s)
        return seen

    @property
    def problem(self) -> str:
        return "; ".join(self._observer.problems.values())


def calibrated(sim_config: SimConfig, name: str) -> Calibration:
    """What calibrating the simulated camera would say of it, were it exact; a shift comes after that."""
    before = sim_config.shift.model_copy(update={"camera_moved_m": (0.0, 0.0, 0.0)})
    camera = SimCamera(SimRobot(sim_config.task, sim_config.timing, before, 0), sim_config.camera, before)
    known = CameraCalibration(
        serial="simulated", mount="eye_to_hand", intrinsics=intrinsics_of(camera),
        parent_from_camera=camera.base_from_camera.tolist(),
        views=0, reprojection_px=0, board_m=0, board_deg=0, position_std_m=0,
    )  # fmt: skip
    return Calibration(cameras={name: known})


def intrinsics_of(camera: SimCamera) -> Intrinsics:
    return Intrinsics.centred(camera.config.width_px, camera.config.height_px, camera.focal_px)


def _tcp(sim: SimRobot) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = sim.tcp_rotation(), sim.tcp_position()
    return pose


VALUES = {
    "joints": lambda sim: sim.robot_state().q,
    "tcp": _tcp,
    "desired_tcp": SimRobot.desired_tcp_position,
    "width": lambda sim: sim.robot_state().width_m,
    "objects": SimRobot.observed_objects,
}
