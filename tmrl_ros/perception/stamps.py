"""When a frame was acquired, in ROS time, from what a camera's driver says."""

from collections import deque
from collections.abc import Sequence
from typing import Literal

Clock = Literal["host", "device"]  # which clock a driver's stamp was taken from: this computer's, or a counter
WINDOW = 300  # frames over which the shortest delay is looked for: 10 s, in which two clocks drift by less than 1 ms
NS_PER_MS = 1_000_000


class StampMap:
    """Stamps of one camera to ROS time.

    The host's clock differs from ROS time only where time is simulated. A device's counter begins anywhere: the frame
    that arrived soonest after its stamp counts as one without delay, so of its latency only what exceeds the shortest
    one is seen.
    """

    def __init__(self):
        self._delays_ns: deque[int] = deque(maxlen=WINDOW)
        self._newest_ns = 0

    def to_ros_ns(self, clock: Clock, stamps_ms: Sequence[float], host_ns: int, ros_ns: int) -> list[int]:
        """ROS time of frames stamped stamps_ms that arrived together when the clocks showed host_ns and ros_ns."""
        stamps_ns = [round(stamp_ms * NS_PER_MS) for stamp_ms in stamps_ms]
        offset_ns = ros_ns - host_ns if clock == "host" else self._offset_ns(max(stamps_ns), ros_ns)
        return [stamp_ns + offset_ns for stamp_ns in stamps_ns]

    def _offset_ns(self, stamp_ns, ros_ns):
        if stamp_ns < self._newest_ns:  # the device began to count again
            self._delays_ns.clear()
        self._newest_ns = stamp_ns
        self._delays_ns.append(ros_ns - stamp_ns)
        return min(self._delays_ns)


class Latency:
    """From acquisition to publication, collected until it is asked for."""

    def __init__(self):
        self._seen_ms: list[float] = []

    def add(self, stamp_ns: int, now_ns: int) -> None:
        self._seen_ms.append((now_ns - stamp_ns) / NS_PER_MS)

    def take(self) -> dict[str, float]:
        """Median and longest since the last call, ms; empty where nothing came."""
        seen, self._seen_ms = sorted(self._seen_ms), []
        return {"latency_median_ms": seen[len(seen) // 2], "latency_max_ms": seen[-1]} if seen else {}
