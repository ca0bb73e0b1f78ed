"""What operators ask of the supervisor, and who of them may: one has the lease, by saying its name twice a second.

`operate` carries a name. The plain services (start_session, ...) carry none, so they are for when nobody has the lease.
"""

import time
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from tmrl_msgs.srv import Operate
from tmrl_ros.errors import TmrlError
from tmrl_ros.nodes import topics
from tmrl_ros.supervisor.lease import Lease

OPERATOR = topics.Topic("operator", String)  # a name, as long as its operator is there
OPERATE = topics.Service("operate", Operate)


class Operators:
    """`actions` are what the plain services do, by their names; `told` is called after each that was asked for."""

    def __init__(
        self,
        node: Node,
        actions: dict[str, Callable[[], None]],
        label: Callable[[int, bool], None],
        told: Callable[[], None],
    ):
        self._actions, self._label, self._told, self._lease = actions, label, told, Lease()
        OPERATOR.subscribe(node, lambda message: self._lease.hear(message.data, time.monotonic()))
        for service in (topics.START_SESSION, topics.END_SESSION, topics.RESUME, topics.OBJECTS_PLACED):
            service.serve(node, lambda request, response, name=service.name: self._on_trigger(name, response))
        topics.LABEL_EPISODE.serve(node, self._on_label)
        OPERATE.serve(node, self._on_operate)

    def lost(self) -> str:
        """The operator who had the lease and fell silent, once."""
        return self._lease.lost(time.monotonic())

    def unattended(self) -> bool:
        """Whether nobody has the lease, nor had it a moment ago."""
        return self._lease.unattended(time.monotonic())

    def _on_trigger(self, name: str, response: Trigger.Response) -> Trigger.Response:
        response.message = self._try("", self._actions[name])
        response.success = not response.message
        return response

    def _on_label(self, request, response):
        response.message = self._try("", lambda: self._label(request.episode, request.success))
        response.ok = not response.message
        return response

    def _on_operate(self, request, response):
        response.message = self._try(request.name, lambda: self._act(request))
        response.ok = not response.message
        return response

    def _act(self, request: Operate.Request) -> None:
        if request.action == "label_episode":
            self._label(request.episode, request.success)
        elif request.action == "release":
            self._lease.release(request.name, time.monotonic())
        elif request.action in self._actions:
            self._actions[request.action]()
        else:
            valid = ", ".join([*self._actions, "label_episode", "release"])
            raise TmrlError(f"action {request.action!r} does not exist; valid: {valid}")

    def _try(self, operator: str, work: Callable[[], None]) -> str:
        """Do it, or say why not."""
        try:
            self._lease.check(operator)
            work()
        except TmrlError as error:
            return str(error)
        finally:
            self._told()
        return ""
