"""Nodes as processes in a ROS domain of their own, beside a node of the test."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
import rclpy

from tmrl_ros.nodes import runtime
from tmrl_ros.session.domain import reserved_domain


@pytest.fixture
def ros(monkeypatch):
    """(context, start): start(node, **parameters by dotted name) begins a process; all end well with the test."""
    runtime.use_loopback(os.environ)
    context, processes = rclpy.Context(), []
    with reserved_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        rclpy.init(context=context, domain_id=domain)

        def start(node, **parameters):
            options = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
            processes.append(subprocess.Popen([sys.executable, "-m", "tmrl_ros.nodes", node, "--ros-args", *options]))

        yield context, start
        for process in processes:
            process.send_signal(signal.SIGINT)
        assert [process.wait(10) for process in processes] == [0] * len(processes)
        rclpy.try_shutdown(context=context)
