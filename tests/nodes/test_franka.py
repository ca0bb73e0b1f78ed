"""The franka node as a process, beside a robot of the test that serves its actions and says its state."""

import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from tmrl_ros.nodes import convert, franka_actions, topics
from tmrl_ros.nodes.franka import RECOVER
from tmrl_ros.robot.franka_hand import OPEN_M
from tmrl_ros.types import EpisodeEvent, Mode

sys.path.append(str(Path(__file__).parents[1] / "interfaces"))
import stand_ins
from fake_robot import FakeRobot

PATIENCE_S = 30.0
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Cell(Node):
    """Wants widths, begins episodes, asks for recoveries, hears diagnostics."""

    def __init__(self, context, robot):
        super().__init__("cell", context=context)
        self.robot, self.statuses, self.shares = robot, {}, []
        self.widths, self.events = topics.GRIPPER_COMMAND.publisher(self), topics.EPISODE_EVENT.publisher(self)
        topics.DIAGNOSTICS.subscribe(self, self._on_diagnostics)
        franka_actions.GRIPPER.subscribe(self, lambda message: self.shares.append(message.data[0]))
        self.client = RECOVER.client(self)
        self.spinner = SingleThreadedExecutor(context=context)
        self.spinner.add_node(self)
        self.until(self.widths.get_subscription_count)
        self.until(self.client.service_is_ready)

    def _on_diagnostics(self, message):
        self.statuses |= {status.name: (status.level, status.message) for status in message.status}

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, (self.statuses, self.robot and self.robot.heard)
            self.spinner.spin_once(timeout_sec=0.02)

    def said(self, name, level, words=""):
        self.until(lambda: name in self.statuses)

        def is_said():
            at, message = self.statuses[name]
            return at == level and words in message

        self.until(is_said)

    def want(self, width_m, goals=None):
        """A wish said every 20 ms, until so many goals came of it and all before."""
        reached = (lambda: len(self.shares) >= goals) if self.robot is None else lambda: len(self.robot.goals) >= goals
        end_s = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < end_s, (self.statuses, self.robot and self.robot.heard)
            self.widths.publish(convert.width_msg(1, width_m))
            self.spinner.spin_once(timeout_sec=0.02)
            time.sleep(0.02)

    def recover(self):
        future = self.client.call_async(Trigger.Request())
        self.until(future.done)
        return future.result()

    def begin(self, episode):
        event = EpisodeEvent(1, episode, "started", Mode.POLICY, True, False, False, 0, "", 0.0)
        self.events.publish(convert.to_msg(event))
        self.robot.listen()


@pytest.fixture
def cell(ros, monkeypatch):
    """cell(**parameters) -> Cell beside the franka node and a fake robot; robot=False: without its messages too."""
    context, start = ros
    made, robots = [], []

    def beside(robot=True, **parameters):
        if robot:
            for name, value in stand_ins.environment().items():
                monkeypatch.setenv(name, value)
            robots.append(FakeRobot())
        start("franka", **parameters)
        made.append(Cell(context, robots[0] if robots else None))
        return made[0]

    yield beside
    for robot in robots:
        robot.close()
    for node in made:
        node.destroy_node()


def test_the_hand_gets_a_goal_for_each_change_and_half_a_second_between(cell):
    node = cell()
    node.want(0.08, goals=1)
    node.want(0.0, goals=2)
    node.want(0.08, goals=3)
    opened, closed, again = node.robot.goals
    assert [goal["goal"] for goal in (opened, closed, again)] == [
        "franka_gripper/move", "franka_gripper/grasp", "franka_gripper/move"
    ]  # fmt: skip
    assert (opened["width"], closed["width"], closed["force"], again["width"]) == (OPEN_M, 0.0, 20.0, OPEN_M)
    assert min(closed["at_s"] - opened["at_s"], again["at_s"] - closed["at_s"]) > 0.45
    node.said("franka: hand", OK)


def test_a_goal_that_is_no_longer_wanted_is_cancelled_and_a_failed_one_is_said(cell):
    node = cell()
    node.robot.tell("hand 20")
    node.want(0.0, goals=1)
    node.robot.tell("hand 0.05 not homed")
    node.want(0.08, goals=2)
    assert {"cancelled": "franka_gripper/grasp"} in node.robot.heard
    node.said("franka: hand", ERROR, "the hand failed: not homed")
    node.robot.tell("hand 0.05")
    node.want(0.0, goals=3)
    node.said("franka: hand", OK)


def test_the_gripper_command_carries_half_the_width_and_a_force(cell):
    node = cell(hand="gripper_action")
    node.want(0.08, goals=1)
    assert node.robot.goals[0]["goal"] == "franka_gripper/gripper_action"
    assert node.robot.goals[0]["position"] == pytest.approx(OPEN_M / 2)
    assert node.robot.goals[0]["effort"] == 20.0, "a hand that is open wider grasps at that width"


def test_a_reflex_is_told_with_its_errors_and_a_person_gets_out_of_it_twice_an_episode(cell):
    node = cell()
    node.said("franka: robot", OK)
    for count in (1, 2):
        node.robot.tell("mode 4 cartesian_reflex joint_velocity_violation")
        node.said("franka: robot", ERROR, "in a reflex (joint velocity violation, cartesian reflex)")
        assert len(node.robot.goals) == count - 1, "nothing recovers by itself"
        assert node.recover().success
        node.said("franka: robot", OK)
        node.said("franka: node", OK, "has recovered")
        node.until(lambda: "nothing to recover from" in node.recover().message)  # that may have been said of the first
        assert [goal["goal"] for goal in node.robot.goals] == ["action_server/error_recovery"] * count
    node.robot.tell("mode 4 cartesian_reflex")
    node.said("franka: robot", ERROR)
    refused = node.recover()
    assert not refused.success and "2 recoveries since the last episode began" in refused.message
    node.begin(3)
    node.until(lambda: node.recover().success)


def test_a_recovery_that_hangs_or_fails_is_given_up_and_a_user_stop_is_none(cell):
    node = cell(**{"recovery.step_s": 0.5})
    node.robot.tell("recovery never")
    node.robot.tell("mode 4 cartesian_reflex")
    node.said("franka: robot", ERROR)
    assert node.recover().success
    node.said("franka: node", ERROR, "took over 0.5 s at error_recovery")
    node.robot.tell("recovery no")
    node.until(lambda: {"done": "recovery no"} in node.robot.heard or node.robot.listen())
    assert node.recover().success
    node.said("franka: node", ERROR, "did not recover: the goal was aborted")
    node.robot.tell("mode 5")
    node.said("franka: robot", ERROR, "user stop is pressed")
    assert "user stop is pressed" in node.recover().message


@pytest.mark.parametrize("told", ["mode 4 cartesian_reflex", ""])
def test_driver_and_controllers_that_an_error_stopped_are_active_again(cell, told):
    """Whether the robot's state was heard to say so before it fell silent, or not."""
    node = cell(silence_s=0.3)
    node.said("franka: robot", OK)
    if told:
        node.robot.tell(told)
        node.said("franka: robot", ERROR)
    node.robot.tell("stop")
    time.sleep(0.5)
    node.until(lambda: node.recover().success)
    node.said("franka: node", OK, "has recovered")
    node.said("franka: robot", OK)
    node.robot.listen()
    controllers = [told["activated"] for told in node.robot.heard if "activated" in told]
    assert controllers == [["franka_robot_state_broadcaster", "joint_state_broadcaster", "joint_trajectory_controller"]]


def test_a_driver_that_stays_stopped_is_named_with_what_to_do(cell):
    node = cell(**{"recovery.step_s": 0.5})
    node.robot.tell("mode 4 cartesian_reflex")
    node.said("franka: robot", ERROR)
    for answer, sentence in (
        ("no", "its driver did not: FrankaHardwareInterface stays unconfigured; start franka_bringup again"),
        ("never", "took over 0.5 s at driver and controllers active; start franka_bringup again"),
    ):
        node.robot.tell("stop")
        node.robot.tell(f"driver {answer}")
        node.until(lambda answer=answer: {"done": f"driver {answer}"} in node.robot.heard or node.robot.listen())
        assert node.recover().success
        node.said("franka: node", ERROR, sentence)


def test_a_robot_that_no_longer_says_its_state_is_a_warning(cell):
    node = cell(silence_s=0.3)
    node.said("franka: robot", OK)
    node.robot.tell("stop")
    node.said("franka: robot", WARN, "if its driver stopped, call recover")


def test_crisp_gets_a_share(cell):
    node = cell(robot=False, hand="crisp")
    node.want(0.08, goals=1)
    node.want(0.0, goals=2)
    assert node.shares == [1.0, 0.0]


@pytest.mark.skipif(stand_ins.installed(), reason="franka_msgs is installed")
def test_without_franka_msgs_it_says_what_does_not_work(cell):
    node = cell(robot=False)
    node.said("franka: hand", ERROR, "franka_msgs is not installed: set hand to gripper_action or crisp")
    node.said("franka: robot", WARN, "franka_msgs is not installed: the robot's mode and errors cannot be read")
    node.said("franka: driver", WARN, "controller_manager_msgs is not installed: a driver that an error")
    refused = node.recover()
    assert not refused.success and "recover in Desk" in refused.message
