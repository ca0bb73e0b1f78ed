"""A robot's broadcasters are best effort: whoever needs them hears them (a reliable reader would wait for ever)."""

import time

import pytest
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from tmrl_ros.nodes import topics

PATIENCE_S = 30.0
BROADCAST = {"supervisor": [topics.WRENCH], "perception": [topics.CURRENT_POSE, topics.DESIRED_POSE]}


@pytest.mark.parametrize("name", BROADCAST)
def test_what_a_broadcaster_sends_is_heard(ros, name):
    context, start = ros
    robot = Node("robot", context=context)
    publishers = [topic._replace(qos=qos_profile_sensor_data).publisher(robot) for topic in BROADCAST[name]]
    start(name, **{"timing.lockstep": False})
    end_s = time.monotonic() + PATIENCE_S
    while not all(publisher.get_subscription_count() for publisher in publishers):
        assert time.monotonic() < end_s, "no reader that this quality of service suits"
        time.sleep(0.1)
    robot.destroy_node()
