"""Who takes goals for the hand and the recovery: actions, asked without waiting, or CRISP's controller.

franka_msgs and control_msgs are imported where they are used: a MissingPackage says what does not work without one.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray

from tmrl_ros import fr3
from tmrl_ros.config import HandConfig
from tmrl_ros.errors import TmrlError
from tmrl_ros.nodes import topics
from tmrl_ros.robot.franka_hand import Goal

GRIPPER = topics.Topic("gripper/gripper_position_controller/commands", Float64MultiArray, QoSProfile(depth=1))
SUCCEEDED, CANCELED = 4, 5  # of action_msgs/GoalStatus
Ended = Callable[[str], None]  # told what went wrong, or nothing


class MissingPackage(TmrlError):
    """An optional ROS package is not installed."""


def optional(module: str, without: str):
    """The module of a ROS package that need not be there; `without` says what does not work then."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingPackage(f"{module.partition('.')[0]} is not installed: {without}") from None


class Asked:
    """One goal of an action at a time; `ended` is told once how each ended, unless another was sent meanwhile."""

    def __init__(self, ended: Ended):
        self._ended, self._number, self._handle, self._cancels = ended, 0, None, False

    def send(self, client: ActionClient, goal, problem_of: Callable[[object], str] = lambda result: "") -> None:
        self._number, self._handle, self._cancels = self._number + 1, None, False
        client.send_goal_async(goal).add_done_callback(partial(self._on_answer, self._number, problem_of))

    def cancel(self) -> None:
        """Ask once that the goal be given up; its end is still waited for."""
        if not self._cancels:
            self._cancels = True
            self._cancel()

    def _cancel(self):
        if self._handle:
            self._handle.cancel_goal_async()

    def _on_answer(self, number, problem_of, future):
        if number != self._number:
            return
        handle = future.result()
        if not handle.accepted:
            return self._ended("the goal was refused")
        self._handle = handle
        handle.get_result_async().add_done_callback(partial(self._on_result, number, problem_of))
        if self._cancels:
            self._cancel()
        return None

    def _on_result(self, number, problem_of, future):
        if number != self._number:
            return
        answer = future.result()
        if answer.status not in (SUCCEEDED, CANCELED):
            return self._ended(problem_of(answer.result) or f"the goal was aborted (status {answer.status})")
        self._ended("" if answer.status == CANCELED else problem_of(answer.result))


class FrankaHand:
    """franka_gripper's own actions."""

    def __init__(self, node: Node, config: HandConfig, ended: Ended):
        self._actions = optional("franka_msgs.action", "set hand to gripper_action or crisp, or install it")
        self._epsilon = optional("franka_msgs.msg", "set hand to gripper_action or crisp, or install it").GraspEpsilon
        self._move = ActionClient(node, self._actions.Move, "franka_gripper/move")
        self._grasp = ActionClient(node, self._actions.Grasp, "franka_gripper/grasp")
        self._config, self._asked = config, Asked(ended)
        self.cancel = self._asked.cancel

    @property
    def ready(self) -> bool:
        return self._move.server_is_ready() and self._grasp.server_is_ready()

    def send(self, goal: Goal) -> None:
        common = {"width": goal.reached_m, "speed": self._config.speed_m_s}
        if not goal.grasp:
            return self._asked.send(self._move, self._actions.Move.Goal(**common), _franka_problem)
        anything = self._epsilon(inner=2 * fr3.FINGER_TRAVEL, outer=2 * fr3.FINGER_TRAVEL)  # or nothing, is held
        grasp = self._actions.Grasp.Goal(**common, force=self._config.force_n, epsilon=anything)
        return self._asked.send(self._grasp, grasp, _franka_problem)


def _franka_problem(result) -> str:
    return "" if result.success else f"the hand failed: {result.error or 'it gave no reason; is it homed?'}"


class CommandedHand:
    """GripperCommand, whose position franka_gripper takes as half the width.

    It moves to a width above the present one and grasps at any other, within its own parameter default_grasp_epsilon:
    at 5 mm an object that is wider counts as a failed grasp, and is held with no force.
    """

    def __init__(self, node: Node, config: HandConfig, ended: Ended):
        kind = optional("control_msgs.action", "set hand to franka or crisp, or install it").GripperCommand
        self._client, self._goal = ActionClient(node, kind, "franka_gripper/gripper_action"), kind.Goal
        self._config, self._asked = config, Asked(ended)
        self.cancel = self._asked.cancel

    @property
    def ready(self) -> bool:
        return self._client.server_is_ready()

    def send(self, goal: Goal) -> None:
        message = self._goal()
        message.command.position = goal.finger_m
        message.command.max_effort = self._config.force_n  # of a grasp; a hand wider than OPEN_M grasps at that too
        self._asked.send(self._client, message, lambda r: "" if r.reached_goal or r.stalled else "the hand stopped")


class CrispHand:
    """CRISP's gripper controller: a share from 0, closed, to 1, open, of which nothing is heard again."""

    def __init__(self, node: Node, config: HandConfig, ended: Ended):
        self._publisher, self._ended = GRIPPER.publisher(node), ended

    @property
    def ready(self) -> bool:
        return self._publisher.get_subscription_count() > 0

    def send(self, goal: Goal) -> None:
        self._publisher.publish(Float64MultiArray(data=[goal.share]))
        self._ended("")

    def cancel(self) -> None:
        """There is never a goal that runs."""


HANDS = {"franka": FrankaHand, "gripper_action": CommandedHand, "crisp": CrispHand}
