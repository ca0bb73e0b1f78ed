"""When the hand opens and closes: on a clear change of wish, and never in quick succession."""

from tmrl_ros import fr3

BAND = 0.1  # a grip action within +-BAND changes nothing
PAUSE_S = 0.5  # between two changes


class Gripper:
    def __init__(self):
        self.closed, self._changed_ns = False, None

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
        self.closed, self._changed_ns = False, None
