"""Deadlines on a monotonic clock that the caller reads: a jump of ROS time can neither hide silence nor invent it."""

import math

import numpy as np

from tmrl_ros.types import RobotState

LATE = 0.75  # of a period: by how much later a state may come than the last one did
PACE = 0.5, 1.5  # periods between two states of which neither waited
CATCHES_UP = 0.25  # of a period: by how much less later than the first of them states come that waited
FROZEN_NS = 100_000_000  # for which an arm that is commanded to move may be measured the same, to the last bit


class Watchdog:
    """Knows what is awaited and until when; all times in s."""

    def __init__(self):
        self._deadlines: dict[str, float] = {}

    def expect(self, source: str, now_s: float, within_s: float) -> None:
        """`source` has to arrive within so long; an earlier deadline for it is replaced."""
        self._deadlines[source] = now_s + within_s

    def arrived(self, source: str) -> None:
        self._deadlines.pop(source, None)

    def overdue(self, now_s: float) -> list[str]:
        """Sources whose deadline has passed, each named once."""
        late = [source for source, deadline in self._deadlines.items() if now_s > deadline]
        for source in late:
            del self._deadlines[source]
        return late


class Backlog:
    """Tells a state that waited, while a process or a network stood still, from the robot's newest.

    The arm has gone on along its last window since, and a command made for then would make it leap. A state is taken
    that came about as soon after its stamp as the last one taken, or a period after the one before it: a clock that was
    set, or a simulation that fell behind, is another lag and no backlog. So is it where states that come more often,
    as a robot's thousand a second, do so for half a period and do not catch up. Times in s of a clock that is never
    set.
    """

    def __init__(self, period_s: float):
        self._period_s = period_s
        self._came_s = self._lag_s = math.inf  # of the last that came; of the last that was taken
        self._since_s = self._behind_s = math.inf  # of the first that was not: when it came; how late it was

    def waited(self, stamp_ns: int, now_s: float) -> bool:
        lag_s, gap_s, self._came_s = now_s - stamp_ns / 1e9, now_s - self._came_s, now_s
        paced = PACE[0] * self._period_s < gap_s < PACE[1] * self._period_s
        if lag_s - self._lag_s > LATE * self._period_s and not paced and not self._persists(lag_s, now_s):
            return True
        self._lag_s, self._behind_s = lag_s, math.inf
        return False

    def _persists(self, lag_s: float, now_s: float) -> bool:
        """Whether states have come as late as this one for half a period, at the pace of their stamps."""
        if abs(lag_s - self._behind_s) > CATCHES_UP * self._period_s:
            self._since_s, self._behind_s = now_s, lag_s
        return now_s - self._since_s >= PACE[0] * self._period_s


class Repeats:
    """Tells a driver that says the same for ever, with fresh stamps, from an arm that stands: measurements tremble."""

    def __init__(self):
        self._last = self._since_ns = None

    def frozen(self, robot: RobotState, moves: bool) -> bool:
        """Whether an arm that is commanded to move (`moves`) has been measured the same for longer than FROZEN_NS."""
        last, self._last = self._last, robot
        same = last is not None and np.array_equal(last.q, robot.q) and np.array_equal(last.dq, robot.dq)
        if not (same and moves):
            self._since_ns = robot.stamp_ns
        return robot.stamp_ns - self._since_ns > FROZEN_NS
