"""Deadlines on a monotonic clock that the caller reads: a jump of ROS time can neither hide silence nor invent it."""


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
