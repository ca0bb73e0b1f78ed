"""Diagnostics of streams that are expected: one that never came is named, too, and a fault is said at once."""

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from tmrl_ros.nodes.diagnostics import OK, Diagnostics


class StreamDiagnostics(Diagnostics):
    """`expect` names a stream from the start, with figures to be asked for; `judge` says what is wrong with it."""

    def __init__(self, node: Node, stale_s: float = 2.0):
        super().__init__(node, stale_s)
        self._judged: dict[str, tuple[bytes, str]] = {}
        self._figures: dict[str, Callable[[], dict[str, float]]] = {}

    def expect(self, name: str, figures: Callable[[], dict[str, float]] = dict) -> None:
        self._counts[name], self._last_s[name], self._figures[name] = 0, time.monotonic(), figures

    def judge(self, name: str, level: bytes, sentence: str) -> None:
        """Stands until it is judged anew; OK leaves it to rate and age."""
        self._judged[name] = (level, sentence)

    def tell(self, name: str, level: bytes, sentence: str) -> None:
        """Publish this verdict now rather than within a second, for whoever must act on it."""
        self.judge(name, level, sentence)
        array = DiagnosticArray(status=[self._status(name, level, sentence, {})])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _status(self, task, level, message, values):
        judged, sentence = self._judged.get(task, (OK, ""))
        if judged != OK:
            level, message = judged, sentence
        return super()._status(task, level, message, values | self._figures.get(task, dict)())
