"""Play a bag with /clock into some nodes, and compare what they publish. `--show-args` names what can be set."""

from tmrl_ros.session.launching import describe_replay


def generate_launch_description():
    return describe_replay()
