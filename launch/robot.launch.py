"""Start the robot alone, beside which sessions run without robot_ip. `--show-args` names what can be set."""

from tmrl_ros.session.launching import describe_robot


def generate_launch_description():
    return describe_robot()
