"""Joins values of several sources that were acquired at the same time."""


class StampJoin:
    """Sources by name; the first is the reference, each of whose stamps makes one set or is given up.

    With tolerance 0 stamps must agree exactly (simulation); otherwise the nearest within it is taken (cameras, robot).
    """

    DEPTH = 64  # stamps kept a source: bounds the memory when a partner falls silent
    PATIENCE = 4  # reference stamps that wait before a partner counts as missing

    def __init__(self, names, tolerance_ns: int = 0):
        self._reference, *self._others = names
        self._tolerance_ns = tolerance_ns
        self._values = {name: {} for name in names}
        self._newest_ns = -1  # of the sets handed out

    def add(self, name: str, stamp_ns: int, value) -> tuple[int, dict] | None:
        """Store one value; the (stamp, {name: value}) of the oldest set it completes, or None.

        A stamp that is not newer than the last set is ignored: duplicates and late values change nothing.
        """
        values = self._values[name]
        if stamp_ns > self._newest_ns - self._slack_ns(name):
            values[stamp_ns] = value
        if len(values) > self.DEPTH:
            del values[min(values)]
        for reference_ns in sorted(self._values[self._reference]):
            found = {other: self._nearest(other, reference_ns) for other in self._others}
            if None not in found.values():
                return self._take(reference_ns, found)
        return None

    def missing(self) -> list[str]:
        """Sources for which PATIENCE reference stamps and more wait in vain."""
        waiting = sorted(self._values[self._reference])
        if len(waiting) < self.PATIENCE:
            return []
        return [other for other in self._others if self._nearest(other, waiting[0]) is None]

    def _nearest(self, name, stamp_ns):
        """The stamp of the value nearest to stamp_ns, or None beyond the tolerance."""
        if stamp_ns in self._values[name]:
            return stamp_ns
        nearest = min(self._values[name], key=lambda other: abs(other - stamp_ns), default=None)
        return nearest if nearest is not None and abs(nearest - stamp_ns) <= self._tolerance_ns else None

    def _take(self, reference_ns, found):
        joined = {other: self._values[other][stamp_ns] for other, stamp_ns in found.items()}
        joined[self._reference] = self._values[self._reference][reference_ns]
        self._newest_ns = reference_ns
        for name, values in self._values.items():
            self._values[name] = {s: v for s, v in values.items() if s > reference_ns - self._slack_ns(name)}
        return reference_ns, joined

    def _slack_ns(self, name):
        """A reference stamp serves once; a slower partner's value may serve the next one too."""
        return 0 if name == self._reference else self._tolerance_ns
