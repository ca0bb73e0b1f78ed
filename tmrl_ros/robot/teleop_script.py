"""Scripted experts that stand in for a person at a teleoperation device: what they see in, a TeleopCommand out.

They close the loop on true positions with little memory but a smooth disturbance, so they recover from what goes wrong,
and every episode of every seed differs a little, as a person's would. Some begin with a miss, as a person's do:
a policy that never saw a hand closed on nothing does not know to open it.
"""

import numpy as np

from tmrl_ros.errors import ConfigError
from tmrl_ros.robot.tasks import PushCube
from tmrl_ros.types import TeleopCommand

STEP_M = 0.025  # TCP motion at full velocity share in one 10 Hz period
GAIN = 0.5  # share of the remaining distance covered in one period; the arm follows with about that delay
NOISE, NOISE_KEEP = 0.12, 0.8  # size of the disturbance in velocity share, and its correlation over one period
CAREFUL_M = 0.05  # nearer to its goal than this a person is careful: the disturbance fades
JUMP_M = 0.05  # an object that moved this far since the last observation was put there: a new episode

MISS_SHARE = {"pick_cube": 0.3, "push_cube": 0.0}  # of episodes that begin with a grasp beside the cube
MISS_X_M, MISS_Y_M, MISS_Z_M = (0.04, 0.06), (-0.02, 0.02), (0.0, 0.05)  # where, from the cube; x to either side
NEAR_M = 0.015
EMPTY_M = 0.01  # a hand closed to less than this holds nothing

GRASP_Z_M = 0.020  # TCP height at which to close on a cube that stands on the table
PUSH_Z_M, PUSH_BEHIND_M = 0.024, 0.065  # TCP height, and distance behind the cube, at which to begin to push


def pick_cube_goal(tcp, cube, width_m, hover_m):
    """Above the cube, down, close, up: the next TCP goal [3] m, and whether to close the hand."""
    off = cube - tcp
    sideways_m = np.hypot(off[0], off[1])
    if sideways_m < 0.012 and abs(off[2]) < 0.015 and width_m > 0.03:  # the cube is between the fingers
        if width_m < 0.0485:  # and they have met it: lift
            return np.array([tcp[0], tcp[1], 0.30]), True
        return np.array([cube[0], cube[1], GRASP_Z_M]), off[2] > -0.006
    # A funnel: the further off sideways, the higher above the cube.
    height_m = GRASP_Z_M if sideways_m < 0.008 else hover_m * min(1.0, 0.25 + sideways_m / 0.04)
    return np.array([cube[0], cube[1], height_m]), False


def push_cube_goal(tcp, cube, width_m, hover_m):
    """With a closed hand behind the cube, down, and forward along x, steering by the cube's y."""
    off = cube - tcp
    if off[0] > 0.025 and abs(off[1]) < 0.012 and tcp[2] < 0.045:
        return np.array([PushCube.LINE_X_M + 0.06, cube[1], PUSH_Z_M]), True
    behind = abs(off[0] - PUSH_BEHIND_M) < 0.015 and abs(off[1]) < 0.012
    return np.array([cube[0] - PUSH_BEHIND_M, cube[1], PUSH_Z_M if behind else hover_m]), True


GOALS = {"pick_cube": pick_cube_goal, "push_cube": push_cube_goal}


class ScriptedTeleop:
    """One expert at a task; each episode's style comes from (seed, stream, number of the episode)."""

    def __init__(self, task: str, seed: int, stream: int = 0):
        if task not in GOALS:
            raise ConfigError(f"no scripted teleoperator for task {task!r}; valid: {', '.join(sorted(GOALS))}")
        self._goal, self._key, self._episode = GOALS[task], (seed, stream), 0
        self._miss_share = MISS_SHARE[task]
        self._cube = np.full(3, np.inf)

    def answer(self, stamp_ns, tcp, cube, width_m, success) -> TeleopCommand:
        """The wish at one observation: tcp and true cube [3] m, base frame; width_m the full opening."""
        if not np.linalg.norm(cube - self._cube) < JUMP_M:
            self._begin()
        self._cube = np.array(cube)
        if self._miss_m is None:
            target, close = self._goal(tcp, cube, width_m, self._hover_m)
        else:
            target, close = self._miss(tcp, cube, width_m)
        fresh = self._rng.normal(0, NOISE, 3)
        self._noise = NOISE_KEEP * self._noise + np.sqrt(1 - NOISE_KEEP**2) * fresh
        care = min(1.0, np.linalg.norm(target - tcp) / CAREFUL_M)
        velocity = np.clip(GAIN * (target - tcp) / STEP_M + care * self._noise, -1, 1)
        return TeleopCommand(stamp_ns, velocity, close, clutch=True, keep=bool(success))

    def command(self, sim) -> TeleopCommand:
        """The same, looking at a SimRobot in this process."""
        task = sim.task_state()
        return self.answer(sim.stamp_ns, sim.tcp_position(), task.objects_m[0], sim.robot_state().width_m, task.success)

    def _miss(self, tcp, cube, width_m):
        """A grasp beside the cube, until the hand is closed on nothing."""
        target = cube + self._miss_m
        self._closing = self._closing or np.linalg.norm(target - tcp) < NEAR_M
        if width_m < EMPTY_M:
            self._miss_m = None
        return target, self._closing

    def _begin(self):
        self._rng = np.random.default_rng([*self._key, self._episode, 1])
        self._episode += 1
        self._hover_m = self._rng.uniform(0.08, 0.14)
        self._noise = np.zeros(3)
        self._miss_m, self._closing = None, False
        if self._rng.random() < self._miss_share:
            side = self._rng.choice([-1, 1])
            self._miss_m = np.array(
                [side * self._rng.uniform(*MISS_X_M), self._rng.uniform(*MISS_Y_M), self._rng.uniform(*MISS_Z_M)]
            )
