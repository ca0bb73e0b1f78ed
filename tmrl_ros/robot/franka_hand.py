"""From the widths that a supervisor wants to goals for a Franka hand, which is slow, blocks, and can fail.

Goals follow one another, never closer than `pause_s`: the one that runs is cancelled once it is no longer wanted, and
the newest wish wins. A goal that failed is not tried again: the next change of wish is.
"""

from dataclasses import dataclass

from tmrl_ros import fr3
from tmrl_ros.config import HandConfig
from tmrl_ros.errors import ActionError

OPEN_M = 0.078  # full width: a homed hand's own max_width may be a little below 80 mm, and beyond it goals are aborted


@dataclass(frozen=True, slots=True)
class Goal:
    """The hand goes to the full width_m; `grasp`: it closes with force, on whatever is in between."""

    width_m: float
    grasp: bool

    @property
    def reached_m(self) -> float:
        """The full width to ask franka_gripper for."""
        return min(self.width_m, OPEN_M)

    @property
    def finger_m(self) -> float:
        """Of each finger from the middle: half of that, as franka_gripper takes it in a GripperCommand."""
        return self.reached_m / 2

    @property
    def share(self) -> float:
        """From 0, closed, to 1, open, which CRISP takes."""
        return self.width_m / (2 * fr3.FINGER_TRAVEL)


class HandGoals:
    """`want` on every command, `step` on a timer, `ended` when the goal that `step` gave has; now_s is monotonic."""

    def __init__(self, config: HandConfig):
        self._config = config
        self._wish: Goal | None = None
        self._last: Goal | None = None  # sent last
        self._running, self._sent_s = False, -float("inf")
        self.problem = ""  # of the last goal that ended

    def want(self, width_m: float) -> None:
        """The wanted full width; one within the band of the last wish changes nothing. Raises ActionError."""
        widest_m = 2 * fr3.FINGER_TRAVEL
        if not 0 <= width_m <= widest_m:
            raise ActionError(f"gripper command of {width_m} m; the hand opens from 0 to {widest_m} m")
        before_m = widest_m if self._wish is None else self._wish.width_m
        if self._wish is None or abs(width_m - before_m) > self._config.band_m:
            self._wish = Goal(width_m, grasp=width_m < before_m)

    def step(self, now_s: float, ready: bool = True) -> Goal | None:
        """The goal to send now, or None; `ready`: somebody would take it."""
        if self._running and now_s - self._sent_s > self._config.patience_s:
            self.ended(f"a goal did not end within {self._config.patience_s:g} s; is the hand homed?")
        due = self._wish is not None and self._wish != self._last
        if not due or self._running or not ready or now_s - self._sent_s < self._config.pause_s:
            return None
        self._last, self._running, self._sent_s = self._wish, True, now_s
        return self._last

    def ended(self, problem: str = "") -> None:
        """The running goal is over; `problem` says what went wrong."""
        self._running, self.problem = False, problem

    @property
    def unwanted(self) -> bool:
        """Whether a goal runs that should be cancelled."""
        return self._running and self._wish != self._last
