"""In lockstep a message that discovery outran would be waited for in vain."""

import time

import pytest

pytest.importorskip("rclpy")
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tmrl_msgs.msg import DecisionRequest
from tmrl_ros.nodes import topics

PATIENCE_S = 10.0


@pytest.fixture
def node(ros):
    context, _ = ros
    return Node("late", context=context)


def test_a_reader_that_comes_after_the_message_still_gets_it(node):
    topic = topics.DECISION_REQUEST.lossless(True)
    topic.publisher(node).publish(DecisionRequest(decision=7))
    heard = []
    topic.subscribe(node, heard.append)
    executor, end_s = SingleThreadedExecutor(context=node.context), time.monotonic() + PATIENCE_S
    executor.add_node(node)
    while not heard and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.1)
    assert [message.decision for message in heard] == [7]


def test_without_lockstep_nothing_changes():
    assert topics.JOINT_STATES.lossless(False) is topics.JOINT_STATES
