"""Nodes as processes in a ROS domain of their own, beside a node of the test."""

import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")


@pytest.fixture
def ros(ros_context):
    """(context, start): start(node, **parameters by dotted name) begins a process; all end well with the test."""
    processes = []

    def start(node, **parameters):
        options = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        processes.append(subprocess.Popen([sys.executable, "-m", "tmrl_ros.nodes", node, "--ros-args", *options]))

    yield ros_context, start
    for process in processes:
        process.send_signal(signal.SIGINT)
    assert [process.wait(10) for process in processes] == [0] * len(processes)
