"""What single frames say, and when enough of them say it."""

from collections import deque
from enum import IntEnum

import numpy as np


class Verdict(IntEnum):
    """On one frame. UNKNOWN is never success, and a frame of which nothing is known is never trained on."""

    UNKNOWN = -1
    FAILURE = 0
    SUCCESS = 1


def verdicts(probability, success_at: float, failure_at: float) -> np.ndarray:
    """Verdict by probability of success [n], as int8; what is no number is UNKNOWN."""
    probability = np.asarray(probability, float)
    sure = np.where(probability >= success_at, Verdict.SUCCESS, Verdict.UNKNOWN)
    return np.where(probability <= failure_at, Verdict.FAILURE, sure).astype(np.int8)


class Debounce:
    """Success once `needed` of the last `frames` frames show it; a gap in time begins anew."""

    def __init__(self, needed: int, frames: int, gap_s: float = 0.5):
        self.needed, self._gap_ns = needed, gap_s * 1e9
        self._seen: deque[Verdict] = deque(maxlen=frames)
        self._newest_ns = 0

    def add(self, stamp_ns: int, verdict: Verdict) -> bool:
        """Whether the task is done, at this frame; one that is no newer than the last changes nothing."""
        if stamp_ns > self._newest_ns:
            if stamp_ns - self._newest_ns > self._gap_ns:
                self._seen.clear()
            self._newest_ns = stamp_ns
            self._seen.append(verdict)
        return self.done

    def clear(self) -> None:
        """Another episode begins."""
        self._seen.clear()

    @property
    def done(self) -> bool:
        return sum(verdict == Verdict.SUCCESS for verdict in self._seen) >= self.needed
