"""Joins values of sources that have clocks and rates of their own, by acquisition stamp."""

from bisect import bisect_left, insort
from collections.abc import Mapping


class StampAlign:
    """Each stamp of the reference is joined with the nearest value of every other source within that one's tolerance.

    Like StampJoin, but bounded by time rather than by count, and it says what a reference stamp lacked in the end.
    """

    def __init__(self, reference: str, tolerance_ns: Mapping[str, int], keep_ns: int):
        self._reference, self._tolerance_ns, self._keep_ns = reference, dict(tolerance_ns), keep_ns
        self._stamps: dict[str, list[int]] = {name: [] for name in (reference, *tolerance_ns)}  # sorted
        self._values: dict[str, dict[int, object]] = {name: {} for name in self._stamps}
        self._newest_ns = -1  # reference stamp that was handed out or given up
        self._lacking: list[dict[str, float | None]] = []

    def add(self, name: str, stamp_ns: int, value) -> tuple[int, dict] | None:
        """Store one value; the (stamp, {name: value}) of the oldest set it completes, or None.

        What comes twice, or later than keep_ns, changes nothing. Values are as near as what has arrived allows.
        """
        stamps, values = self._stamps[name], self._values[name]
        if stamp_ns in values or (name == self._reference and stamp_ns <= self._newest_ns):
            return None
        insort(stamps, stamp_ns)
        values[stamp_ns] = value
        while stamps[0] < stamps[-1] - self._keep_ns:
            self._forget(name, stamps[0])
        for reference_ns in tuple(self._stamps[self._reference]):
            found = {other: self._nearest(other, reference_ns) for other in self._tolerance_ns}
            if None not in found.values():
                return self._take(reference_ns, found)
        return None

    def lacking(self) -> list[dict[str, float | None]]:
        """Of each reference stamp given up since the last call: what it lacked, and how far off the nearest was, s."""
        told, self._lacking = self._lacking, []
        return told

    def _nearest(self, name, stamp_ns):
        """The stamp of the value nearest to stamp_ns, or None beyond the tolerance."""
        nearest = self._closest(name, stamp_ns)
        return nearest if nearest is not None and abs(nearest - stamp_ns) <= self._tolerance_ns[name] else None

    def _closest(self, name, stamp_ns):
        stamps = self._stamps[name]
        place = bisect_left(stamps, stamp_ns)
        return min(stamps[max(place - 1, 0) : place + 1], key=lambda stamp: abs(stamp - stamp_ns), default=None)

    def _take(self, reference_ns, found):
        joined = {other: self._values[other][stamp_ns] for other, stamp_ns in found.items()}
        joined[self._reference] = self._values[self._reference].pop(reference_ns)
        self._stamps[self._reference].remove(reference_ns)
        self._newest_ns = reference_ns
        for older_ns in tuple(s for s in self._stamps[self._reference] if s < reference_ns):
            self._forget(self._reference, older_ns)
        return reference_ns, joined

    def _forget(self, name, stamp_ns):
        self._stamps[name].remove(stamp_ns)
        del self._values[name][stamp_ns]
        if name == self._reference:
            self._newest_ns = max(self._newest_ns, stamp_ns)
            closest = {other: self._closest(other, stamp_ns) for other in self._tolerance_ns}
            self._lacking.append(
                {
                    other: None if found is None else abs(found - stamp_ns) * 1e-9
                    for other, found in closest.items()
                    if found is None or abs(found - stamp_ns) > self._tolerance_ns[other]
                }
            )


class Pace:
    """Thins a stream of stamps to a rate; a stamp may come a quarter of a period early."""

    def __init__(self, hz: float):
        self._period_ns = round(1e9 / hz)
        self._due_ns: int | None = None

    def due(self, stamp_ns: int) -> bool:
        return self._due_ns is None or stamp_ns + self._period_ns // 4 >= self._due_ns

    def took(self, stamp_ns: int) -> None:
        """This one was of use; the next is due at the first full period after it."""
        due_ns = stamp_ns if self._due_ns is None else self._due_ns
        periods = 1 + (stamp_ns + self._period_ns // 4 - due_ns) // self._period_ns
        self._due_ns = due_ns + max(periods, 0) * self._period_ns
