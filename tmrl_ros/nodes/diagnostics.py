"""Rates and ages of what a node hears, on /diagnostics once a second of wall time."""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)


class Diagnostics:
    """`heard(name)` in a callback counts it; `say(level, sentence)` sets what the node says of itself."""

    def __init__(self, node: Node, stale_s: float = 2.0):
        self._node, self._stale_s = node, stale_s
        self._counts: dict[str, int] = {}
        self._last_s: dict[str, float] = {}
        self._own = (OK, "running")
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        node.create_timer(1.0, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def heard(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1
        self._last_s[name] = time.monotonic()

    def say(self, level: bytes, sentence: str) -> None:
        self._own = (level, sentence)

    def _publish(self) -> None:
        array = DiagnosticArray(status=[self._status("node", *self._own, {})])
        array.header.stamp = self._node.get_clock().now().to_msg()
        for name, last_s in self._last_s.items():
            age_s = time.monotonic() - last_s
            level, message = (OK, "arriving") if age_s < self._stale_s else (STALE, f"silent for {age_s:.1f} s")
            array.status.append(self._status(name, level, message, {"rate_hz": self._counts[name], "age_s": age_s}))
            self._counts[name] = 0
        self._publisher.publish(array)

    def _status(self, task: str, level: bytes, message: str, values: dict) -> DiagnosticStatus:
        pairs = [KeyValue(key=key, value=f"{value:.3g}") for key, value in values.items()]
        name, source = f"{self._node.get_name()}: {task}", self._node.get_fully_qualified_name()
        return DiagnosticStatus(level=level, name=name, message=message, hardware_id=source, values=pairs)


def is_of(status: DiagnosticStatus, namespace: str) -> bool:
    """Whether a node in this namespace said it: /diagnostics is one topic for all robots of a domain."""
    return status.hardware_id.rpartition("/")[0] == namespace.rstrip("/")
