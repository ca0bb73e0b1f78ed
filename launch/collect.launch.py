"""Collect demonstrations by teleoperation. `--show-args` names what can be set."""

from tmrl_ros.session.launching import describe


def generate_launch_description():
    return describe("collect")
