"""Windows of the supervisor become a stream of targets that ends standing, whatever dies."""

import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits
from tmrl_ros.nodes import convert, crisp, topics
from tmrl_ros.robot import trajectory
from tmrl_ros.supervisor.motion import Motion

PATIENCE_S = 30.0


class Bench(Node):
    def __init__(self, context):
        super().__init__("bench", context=context)
        self.windows = topics.TRAJECTORY.publisher(self)
        self.joints, self.poses = [], []
        crisp.TARGET_JOINT.subscribe(self, self.joints.append)
        crisp.TARGET_POSE.subscribe(self, self.poses.append)
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, "waited too long"
            self.executor_.spin_once(timeout_sec=0.1)

    def move(self, offset_s=0.0):
        """A window of a moving arm, stamped now plus offset_s."""
        motion = Motion(SafetyLimits(), 50, committed=2)
        motion.aim(np.array([0, 0.02, 0]), 5)
        for _ in range(5):
            window = motion.plan(self.get_clock().now().nanoseconds + round(offset_s * 1e9), False)
            motion.advance(1)
        self.windows.publish(convert.to_msg(window))
        return window


@pytest.fixture
def bench(ros):
    """bench(target) -> Bench beside a crisp node with this target."""
    context, start = ros

    def beside(target, **parameters):
        node = Bench(context)
        start("crisp", target=target, **parameters)
        node.until(node.windows.get_subscription_count)
        return node

    return beside


def test_joint_targets_run_along_the_window_and_stay_at_its_end(bench):
    node = bench("joint")
    window = node.move()
    node.until(lambda: node.joints and not any(node.joints[-1].velocity))
    node.joints.clear()
    node.until(lambda: len(node.joints) > 20)
    assert all(tuple(m.name) == fr3.JOINT_NAMES for m in node.joints)
    np.testing.assert_array_equal(node.joints[-1].position, window.q[-1])


def test_each_target_is_where_the_window_is_at_its_stamp(bench):
    node = bench("joint")
    window = node.move()
    node.until(lambda: len(node.joints) > 10)
    for message in node.joints:
        age_s = (convert.stamp_of(message) - window.stamp_ns) * 1e-9
        q, dq = trajectory.evaluate(window, np.array([age_s]))
        np.testing.assert_allclose(message.position, q[0], atol=1e-9)
        np.testing.assert_allclose(message.velocity, dq[0], atol=1e-9)


def test_a_window_of_another_clock_does_not_run(bench):
    node = bench("joint")
    node.move(offset_s=-5.0)
    node.move(offset_s=+5.0)
    window = node.move()
    node.until(lambda: node.joints and not any(node.joints[-1].velocity))
    np.testing.assert_array_equal(node.joints[-1].position, window.q[-1])
    assert min(convert.stamp_of(m) for m in node.joints) >= window.stamp_ns


def test_pose_targets_are_of_the_hands_point(bench):
    node = bench("pose")
    window = node.move()
    node.until(lambda: len(node.poses) > 100)
    np.testing.assert_allclose(convert.position_of(node.poses[-1]), kinematics.forward(window.q[-1])[0], atol=1e-9)
    turn = node.poses[-1].pose.orientation
    assert abs(turn.x) == pytest.approx(1, abs=1e-3), "the gripper points down"


def test_a_clock_that_is_set_back_leaves_the_arm_standing_and_the_next_window_runs(bench):
    node = bench("joint", use_sim_time=True)
    clock = node.create_publisher(Clock, "/clock", 1)
    node.until(clock.get_subscription_count)

    def until_at(ns, condition, window=None):
        """It is so late until a target of that time, of joints q [7], meets the condition; the window comes again."""

        def came():
            clock.publish(Clock(clock=convert.to_time(ns)))
            if window:
                node.windows.publish(convert.to_msg(window))
            return any(condition(np.array(m.position)) for m in node.joints if convert.stamp_of(m) == ns)

        node.joints.clear()
        node.until(came)
        return np.array(node.joints[-1].position)

    motion, now_ns = Motion(SafetyLimits(), 50, committed=2), 100_000_000_000
    motion.aim(np.array([0, 0.02, 0]), 5)
    for _ in range(5):
        window = motion.plan(now_ns, False)
        motion.advance(1)
    until_at(now_ns, lambda q: np.array_equal(q, window.q[0]), window)
    last = until_at(now_ns + 20_000_000, lambda q: True)
    assert np.abs(last - window.q[0]).max() > 1e-4
    earlier_ns = now_ns - 3_000_000_000
    np.testing.assert_array_equal(until_at(earlier_ns, lambda q: True), last)
    held = trajectory.hold(earlier_ns, last + 0.01)
    until_at(earlier_ns, lambda q: np.array_equal(q, held.q[0]), held)
