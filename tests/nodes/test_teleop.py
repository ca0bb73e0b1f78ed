"""The teleop node: what it refuses, and devices over DDS, from their input to the joy that the supervisor hears."""

import os
import pty
import subprocess
import sys
import time
from array import array
from dataclasses import replace

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float32

from tmrl_ros import fr3
from tmrl_ros.nodes import convert, teleop, topics
from tmrl_ros.types import EpisodeEvent, Mode, Observation, SessionState, SessionStatus


def test_a_device_with_a_driver_of_its_own_is_refused_with_its_name():
    command = [sys.executable, "-m", "tmrl_ros.nodes", "teleop", "--ros-args", "-p", "device:=joy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "joy_node" in done.stderr and "Traceback" not in done.stderr


class Bench(Node):
    """Stands in for perception, the supervisor and a driver, and hears the joy."""

    def __init__(self, context):
        super().__init__("bench", context=context)
        self.heard, self.stamp_ns = [], 0
        self.observations = topics.OBSERVATION.lossless(True).publisher(self)
        self.events = topics.EPISODE_EVENT.publisher(self)
        self.driver = teleop.DRIVERS["gamepad"].publisher(self)
        self.widths, self.statuses = topics.GRIPPER_COMMAND.publisher(self), topics.SESSION_STATUS.publisher(self)
        topics.JOY.subscribe(self, lambda message: self.heard.append(convert.from_msg(message)))
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)

    def until(self, condition, timeout_s=20.0):
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, "waited too long"
            self.executor_.spin_once(timeout_sec=0.05)

    def observe(self):
        self.stamp_ns += 100_000_000
        self.observations.publish(convert.to_msg(Observation(self.stamp_ns, np.zeros(10, np.float32))))

    def wish(self, condition=lambda wish: True, say=lambda: None):
        """The first answer for which `condition` holds; until then the device says on and observations go on."""
        asked_s = -1.0

        def answered():
            nonlocal asked_s
            heard = bool(self.heard) and self.heard[-1].stamp_ns == self.stamp_ns
            if heard and condition(self.heard[-1]):
                return True
            if heard or time.monotonic() - asked_s > 0.3:  # unanswered: it came before what the device said, or late
                say()
                self.observe()
                asked_s = time.monotonic()
            return False

        self.heard.clear()
        self.until(answered)
        return self.heard[-1]

    def is_silent(self) -> bool:
        """Whether observations go without an answer for a while."""
        self.heard.clear()
        end_s = time.monotonic() + 0.4
        while time.monotonic() < end_s:
            self.observe()
            self.executor_.spin_once(timeout_sec=0.1)
        return not self.heard


@pytest.fixture
def bench(ros):
    """bench(**parameters) -> Bench beside a teleop node with these parameters."""
    context, start = ros
    node = Bench(context)

    def beside(**parameters):
        start("teleop", **parameters)
        node.until(lambda: node.count_publishers(topics.JOY.name) and node.observations.get_subscription_count())
        return node

    return beside


def test_a_keyboard_answers_each_observation_until_its_terminal_is_closed(bench):
    person, end = pty.openpty()
    node = bench(**{"device": "keyboard", "terminal": os.ttyname(end), "keyboard.hold_s": 1.0})
    assert not node.wish().clutch
    os.write(person, b"cW ")
    wish = node.wish(lambda wish: wish.clutch)
    assert wish.stamp_ns == node.stamp_ns and wish.close_gripper
    np.testing.assert_allclose(wish.velocity, (1, 0, 0))
    node.events.publish(convert.to_msg(ended()))
    assert node.wish(lambda wish: not wish.close_gripper).clutch
    os.close(person)
    os.close(end)
    assert node.is_silent()


def test_a_gamepad_is_silent_until_it_is_heard_and_again_when_it_is_lost(bench):
    gamepad = {"gamepad.dead_band": 0.5, "gamepad.scales": [1.0, -1.0, 1.0]}
    node = bench(device="gamepad", lost_s=1.0, **gamepad)
    node.until(lambda: node.driver.get_subscription_count())
    assert node.is_silent()
    axes = array("f", (1.0, 0.4, 0.0, 0.0, -0.75, 0.0))
    pressed = Joy(axes=axes, buttons=array("i", (0, 0, 0, 0, 1)))
    wish = node.wish(say=lambda: node.driver.publish(pressed))
    np.testing.assert_allclose(wish.velocity, (0, -1, -0.5))
    assert wish.clutch and not wish.close_gripper
    node.driver.publish(Joy(axes=axes[:2]))  # no such device: not heard
    time.sleep(1.1)
    assert node.is_silent()


def test_a_person_who_takes_the_arm_begins_with_the_hand_as_the_policy_has_it(bench):
    person, end = pty.openpty()
    node = bench(**{"device": "keyboard", "terminal": os.ttyname(end), "timing.real_time": True})
    status = SessionStatus(1, SessionState.RUNNING, Mode.POLICY, "", 0.0, 0, 0, 0, 0.0, 0, 0)

    def close():
        node.widths.publish(convert.width_msg(1, 0.0))

    def open_():
        node.widths.publish(convert.width_msg(1, 0.08))

    assert node.widths.get_subscription_count() == 0, "a session starts once a hand listens, which this is not"
    node.statuses.publish(convert.to_msg(status))
    node.until(node.widths.get_subscription_count)
    assert node.wish(lambda wish: wish.close_gripper, say=close)
    node.wish(lambda wish: not wish.close_gripper, say=open_)
    node.wish(lambda wish: wish.close_gripper, say=close)
    os.write(person, b"c")
    assert node.wish(lambda wish: wish.clutch).close_gripper
    os.write(person, b" ")
    node.wish(lambda wish: not wish.close_gripper)
    for _ in range(5):  # what the policy said last must not undo the press
        assert not node.wish(say=close).close_gripper
    node.statuses.publish(convert.to_msg(replace(status, mode=Mode.TELEOP)))
    node.wish()
    os.write(person, b"c")
    node.wish(lambda wish: not wish.clutch)
    for _ in range(5):
        assert not node.wish(say=close).close_gripper
    os.close(person)
    os.close(end)


def test_a_gello_moves_the_arm_as_its_hand_goes_and_is_silent_when_its_cable_is_pulled(bench):
    node = bench(device="gello", lost_s=1.0)
    joints, trigger = (topic.publisher(node) for topic in (teleop.GELLO_JOINTS, teleop.GELLO_TRIGGER))
    node.until(lambda: joints.get_subscription_count() and trigger.get_subscription_count())
    assert node.is_silent()
    q = fr3.HOME_Q.copy()

    def turned(rad):
        q[0] += rad
        joints.publish(JointState(name=fr3.JOINT_NAMES[::-1], position=array("d", q[::-1])))

    def still():
        turned(0.0)
        trigger.publish(Float32(data=0.1))

    wish = node.wish(lambda wish: wish.close_gripper, say=still)
    assert not wish.clutch and not wish.velocity.any()
    # turned about the base's z, the TCP goes left
    wish = node.wish(lambda wish: wish.clutch and wish.velocity[1] > 0.3, say=lambda: turned(0.02))
    assert abs(wish.velocity[2]) < 1e-6
    joints.publish(JointState(name=["another"], position=array("d", [1.0])))
    time.sleep(1.1)
    assert node.is_silent()


def ended() -> EpisodeEvent:
    return EpisodeEvent(1, 0, "ended", Mode.TELEOP, False, True, True, 1, "success", 1.0)
