"""When the hand opens and closes: on a clear change of wish, and never in quick succession."""

from tmrl_ros import fr3
from tmrl_ros.errors import ActionError

BAND = 0.1  # a grip action within +-BAND changes nothing
PAUSE_S = 0.5  # between two changes
MOVES_M, MOVES_S = 0.005, 2.0  # so far the hand has come, so long after a change, unless something stops it at once


class Gripper:
    def __init__(self):
        self.closed, self._changed_ns = False, None
        self._watched = False  # the wish that `check` saw last
        self._from_m, self._due_ns = 0.0, None  # width when it changed; until when it has to differ

    @property
    def width_m(self) -> float:
        """The wanted full opening."""
        return 0.0 if self.closed else 2 * fr3.FINGER_TRAVEL

    def grip(self, action: float, now_ns: int) -> float:
        """Follow a grip action (above 0 closes); returns what was executed, 1 closed or -1 open."""
        settled = self._changed_ns is None or abs(now_ns - self._changed_ns) >= PAUSE_S * 1e9
        if abs(action) > BAND and settled and self.closed != (action > 0):
            self.closed, self._changed_ns = action > 0, now_ns
        return 1.0 if self.closed else -1.0

    def open(self) -> None:
        """As a reset does; nobody checks meanwhile."""
        self.closed, self._changed_ns = False, None
        self._watched, self._due_ns = False, None

    def check(self, width_m: float, now_ns: int) -> None:
        """Raises ActionError once the measured full width has not moved after a change of wish: the hand is stuck.

        A hand that closes on an object moves before it stops, so a grasp is none.
        """
        if self._watched != self.closed:
            self._watched, self._from_m, self._due_ns = self.closed, width_m, now_ns + round(MOVES_S * 1e9)
        if self._due_ns is None:
            return
        if abs(width_m - self._from_m) >= MOVES_M or abs(width_m - self.width_m) < MOVES_M:
            self._due_ns = None
        elif now_ns >= self._due_ns:
            self._due_ns = None
            raise ActionError(
                f"the hand is stuck: {1e3 * width_m:.0f} mm wide for {MOVES_S:g} s, wanted {1e3 * self.width_m:.0f} mm"
            )
