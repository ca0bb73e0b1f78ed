"""The robot's driver and its controllers, which ros2_control stops on an error of the robot: made active again.

The controller manager is asked one thing after another. Its command controller begins by holding what it measures, and
by then the supervisor's command is where the arm is measured too, so nothing leaps.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from lifecycle_msgs.msg import State
from rclpy.node import Node

from tmrl_ros.nodes.franka_actions import Ended, optional

AGAIN = "start franka_bringup again"
UNSEEN = f"a driver that an error of the robot stopped is not made active again; {AGAIN} then"
SERVICES = {
    "list_hardware_components": "ListHardwareComponents",
    "set_hardware_component_state": "SetHardwareComponentState",
    "list_controllers": "ListControllers",
    "switch_controller": "SwitchController",
}


class Driver:
    """Raises MissingPackage without controller_manager_msgs; `ended` is told what went wrong, or nothing."""

    def __init__(self, node: Node, controllers: Sequence[str], ended: Ended):
        types = optional("controller_manager_msgs.srv", UNSEEN)
        self._types = {name: getattr(types, kind) for name, kind in SERVICES.items()}
        self._clients = {
            name: node.create_client(kind, f"controller_manager/{name}") for name, kind in self._types.items()
        }
        self._controllers, self._ended, self._number, self._asking = controllers, ended, 0, iter(())

    def activate(self) -> None:
        """Make what is not active so; answers to an earlier call are no longer heard."""
        self._number, self._asking = self._number + 1, self._ask()
        self._go_on(self._number, None)

    def _ask(self) -> Iterator[tuple[str, dict]]:
        """Yields what is asked, is sent the answers, and returns the problem."""
        for component in (yield "list_hardware_components", {}).component:
            if component.state.id != State.PRIMARY_STATE_ACTIVE:
                wanted = State(id=State.PRIMARY_STATE_ACTIVE, label="active")
                answer = yield "set_hardware_component_state", {"name": component.name, "target_state": wanted}
                if not answer.ok:
                    return f"{component.name} stays {answer.state.label or 'as it is'}; {AGAIN}"
        states = {entry.name: entry.state for entry in (yield "list_controllers", {}).controller}
        if missing := [name for name in self._controllers if name not in states]:
            return f"{', '.join(missing)} is not loaded; {AGAIN}, or correct recovery.controllers"
        stopped = [name for name in self._controllers if states[name] != "active"]
        if stopped:
            strict = self._types["switch_controller"].Request.STRICT
            order = {"activate_controllers": stopped, "strictness": strict, "activate_asap": True}
            if not (yield "switch_controller", order).ok:
                return f"{', '.join(stopped)} could not be activated; {AGAIN}"
        return ""

    def _go_on(self, number: int, future) -> None:
        if number != self._number:
            return
        try:
            name, values = self._asking.send(future and future.result())
        except StopIteration as end:
            return self._ended(end.value)
        if not self._clients[name].service_is_ready():
            return self._ended(f"nobody serves controller_manager/{name}; {AGAIN}")
        asked = self._clients[name].call_async(self._types[name].Request(**values))
        asked.add_done_callback(partial(self._go_on, number))
        return None
