"""Reads a session's status from a process that is no node of it, such as the starter."""

import os

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from tmrl_ros.nodes import topics
from tmrl_ros.nodes.convert import from_msg
from tmrl_ros.nodes.runtime import make_executor, use_loopback
from tmrl_ros.types import SessionStatus


class StatusMonitor:
    """`poll` returns the newest status since the last call; sessions can follow one another."""

    def __init__(self, domain_id: int, namespace: str = ""):
        use_loopback(os.environ)
        self._context = Context()
        rclpy.init(args=[], context=self._context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("starter", context=self._context, namespace=namespace, start_parameter_services=False)
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)
        self._newest = None
        topics.SESSION_STATUS.subscribe(self._node, self._on_status)

    def poll(self) -> SessionStatus | None:
        """Never waits: statuses can come faster than anyone wants to look."""
        self._newest = None
        self._executor.spin_once(timeout_sec=0)
        return from_msg(self._newest) if self._newest else None

    def _on_status(self, message) -> None:
        self._newest = message

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
