"""Run episodes with a policy that does not change, and count successes. `--show-args` names what can be set."""

from tmrl_ros.session.launching import describe


def generate_launch_description():
    return describe("evaluate")
