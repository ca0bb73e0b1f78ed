"""The scripted reset: open the hand, retract, go home, have the objects placed, wait until the time is up."""

from enum import Enum, auto

import numpy as np

from tmrl_ros import fr3
from tmrl_ros.supervisor.gripper import Gripper
from tmrl_ros.supervisor.motion import Motion

OPEN_S, SETTLE_S, BLOCKED_S = 0.3, 0.3, 0.3
NEAR_M, NEAR_RAD = 0.003, 1e-4
OVERTIME = 4.0  # a reset that takes this many times its planned duration has failed


class Phase(Enum):
    OPEN = auto()
    RETRACT = auto()
    TRANSIT = auto()
    HOME = auto()
    PLACE = auto()  # waits for the objects
    SETTLE = auto()
    DONE = auto()
    FAILED = auto()


class Reset:
    """One reset of planned duration_s; `tick` steers the motion and returns the phase.

    A person who places the objects (`patient`) may take their time.
    """

    def __init__(self, motion: Motion, gripper: Gripper, duration_s: float, patient: bool = False):
        self.motion, self.gripper, self.duration_s, self.patient = motion, gripper, duration_s, patient
        self.phase, self._elapsed_s, self._since_s = Phase.OPEN, 0.0, 0.0

    def tick(self, dt: float) -> Phase:
        if not (self.patient and self.phase == Phase.PLACE):
            self._elapsed_s += dt
        if self.phase not in (Phase.DONE, Phase.FAILED):
            getattr(self, f"_{self.phase.name.lower()}")()
        if self._elapsed_s > OVERTIME * self.duration_s and self.phase != Phase.DONE:
            self.phase = Phase.FAILED
        return self.phase

    def placed(self, ok: bool) -> None:
        """The objects are where the next episode starts, or could not be brought there."""
        self._enter(Phase.SETTLE if ok else Phase.FAILED)

    def _enter(self, phase: Phase) -> None:
        self.phase, self._since_s = phase, self._elapsed_s

    def _near(self, goal_m) -> bool:
        return bool(np.abs(self.motion.tcp_m - goal_m).max() < NEAR_M)

    def _open(self):
        self.gripper.open()
        if self._elapsed_s - self._since_s >= OPEN_S:
            above_m = np.array([*self.motion.tcp_m[:2], max(self.motion.tcp_m[2], fr3.HOME_TCP[2])])
            self.motion.aim_at(above_m)
            self._enter(Phase.RETRACT)

    def _blocked(self) -> bool:
        """The arm stands though it has somewhere to go: a joint is at its limit. In joint space the way is open."""
        return self.motion.standing and self._elapsed_s - self._since_s >= BLOCKED_S

    def _retract(self):
        if self._near(self.motion.goal_m) or self._blocked():
            self.motion.aim_at(fr3.HOME_TCP)
            self._enter(Phase.TRANSIT)

    def _transit(self):
        if self._near(fr3.HOME_TCP) or self._blocked():
            self.motion.aim_joints(fr3.HOME_Q)
            self._enter(Phase.HOME)

    def _home(self):
        if self.motion.standing and np.abs(self.motion.q - fr3.HOME_Q).max() < NEAR_RAD:
            self._enter(Phase.PLACE)

    def _place(self):
        pass

    def _settle(self):
        if self._elapsed_s >= self.duration_s and self._elapsed_s - self._since_s >= SETTLE_S:
            self._enter(Phase.DONE)
