"""An operator of a session, in a process of their own: is there, asks for actions, and hears what comes of them."""

import os

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from tmrl_msgs.srv import Operate
from tmrl_ros.nodes import topics
from tmrl_ros.nodes.convert import from_msg
from tmrl_ros.nodes.operators import OPERATE, OPERATOR
from tmrl_ros.nodes.runtime import make_executor, use_loopback
from tmrl_ros.types import EpisodeEvent, SessionStatus

THERE_S = 0.25  # between two words of being there


class Operating:
    """`status` and `ended` are the newest session status and ended episode; `answers` what was answered, in order."""

    def __init__(self, name: str, namespace: str = ""):
        use_loopback(os.environ)
        self.name, self.answers = name, []
        self.status: SessionStatus | None = None
        self.ended: EpisodeEvent | None = None
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node(
            f"operator_{os.getpid()}", context=self._context, namespace=namespace, start_parameter_services=False
        )
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)
        self._there = OPERATOR.publisher(self._node)
        self._client = OPERATE.client(self._node)
        topics.SESSION_STATUS.subscribe(self._node, lambda message: setattr(self, "status", from_msg(message)))
        topics.EPISODE_EVENT.subscribe(self._node, self._on_event)
        self._node.create_timer(THERE_S, self._say, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def spin(self, seconds: float) -> None:
        self._executor.spin_once(timeout_sec=seconds)

    def ask(self, action: str, success: bool = False) -> None:
        """Ask for an action of the service `operate`; a label is that of the last ended episode."""
        if not self._client.service_is_ready():
            self.answers.append("no session is heard; is ROS_DOMAIN_ID that of its nodes?")
            return
        episode = self.ended.episode if self.ended else 0
        request = Operate.Request(name=self.name, action=action, episode=episode, success=success)
        self._client.call_async(request).add_done_callback(lambda future: self._on_answer(action, future.result()))

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _say(self) -> None:
        self._there.publish(String(data=self.name))

    def _on_answer(self, action: str, response: Operate.Response) -> None:
        self.answers.append(f"{action}: {'done' if response.ok else response.message}")

    def _on_event(self, message) -> None:
        if message.kind == "ended":
            self.ended = from_msg(message)
