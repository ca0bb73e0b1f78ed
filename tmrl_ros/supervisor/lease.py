"""One operator at a time: the first that is heard has the session until it lets go or falls silent."""

import math

from tmrl_ros.errors import TmrlError

SILENCE_S = 1.9  # of the holder, after which the lease is free: what follows is done within 2 s


class Lease:
    """`holder` is empty while nobody has it; now_s is monotonic."""

    def __init__(self):
        self.holder, self._heard_s, self._free_s = "", 0.0, -math.inf  # the last: since when nobody has it

    def hear(self, operator: str, now_s: float) -> None:
        """An operator is there; the first one takes the lease."""
        if operator and self.holder in ("", operator):
            self.holder, self._heard_s = operator, now_s

    def check(self, operator: str) -> None:
        """Raises TmrlError unless `operator` (empty: one without a name) may act."""
        if self.holder not in ("", operator):
            name = f"{operator!r}" if operator else "a caller without a name"
            raise TmrlError(
                f"{self.holder!r} operates this session and {name} may only watch; it can release the session, or end"
            )

    def release(self, operator: str, now_s: float) -> None:
        """The holder lets go. Raises TmrlError where it is another."""
        self.check(operator)
        self.holder, self._free_s = "", now_s

    def lost(self, now_s: float) -> str:
        """The holder that fell silent, once; the lease is free then."""
        if not self.holder or now_s - self._heard_s <= SILENCE_S:
            return ""
        lost, self.holder, self._free_s = self.holder, "", -math.inf
        return lost

    def unattended(self, now_s: float) -> bool:
        """Whether nobody has the lease, nor had it a moment ago: one lets go before another takes over."""
        return not self.holder and now_s - self._free_s > SILENCE_S
