"""Tasks: where objects start, and the reward source that says when the task is done."""

from dataclasses import dataclass

import numpy as np

from tmrl_ros.errors import ConfigError
from tmrl_ros.robot.model import CUBE_M


@dataclass(frozen=True)
class Scene:
    """What a reward source may look at: true positions in the base frame, and contact."""

    cube_m: np.ndarray  # [3], its centre
    tcp_m: np.ndarray  # [3]
    fingers_touching: int  # how many of the two touch the cube


@dataclass(frozen=True)
class CubeTask:
    """A cube that starts at rest on the table, uniformly in a rectangle of its centre's x and y (m, base frame)."""

    start_min_m: tuple[float, float]
    start_max_m: tuple[float, float]

    def start(self, rng: np.random.Generator, offset_m) -> np.ndarray:
        """The cube's centre, float64 [3]; the deployment shift moves the rectangle by offset_m [3]."""
        xy = rng.uniform(self.start_min_m, self.start_max_m)
        return np.array([*xy, CUBE_M / 2]) + offset_m

    def success(self, scene: Scene) -> bool:
        raise NotImplementedError


class PickCube(CubeTask):
    """Done when the cube is 8 cm above the table, between both fingers."""

    LIFT_M = 0.08

    def success(self, scene):
        lifted = scene.cube_m[2] - CUBE_M / 2 >= self.LIFT_M
        return bool(lifted and scene.fingers_touching == 2 and np.linalg.norm(scene.cube_m - scene.tcp_m) < 0.04)


class PushCube(CubeTask):
    """Done when the cube stands on the table beyond a line across x."""

    LINE_X_M = 0.66

    def success(self, scene):
        return bool(scene.cube_m[0] >= self.LINE_X_M and abs(scene.cube_m[2] - CUBE_M / 2) < 0.01)


TASKS = {
    "pick_cube": PickCube(start_min_m=(0.38, 0.02), start_max_m=(0.66, 0.20)),
    "push_cube": PushCube(start_min_m=(0.48, -0.10), start_max_m=(0.56, 0.10)),
}


def make_task(name: str) -> CubeTask:
    if name not in TASKS:
        raise ConfigError(f"task {name!r} does not exist; valid: {', '.join(sorted(TASKS))}")
    return TASKS[name]
