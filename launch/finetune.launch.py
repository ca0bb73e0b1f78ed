"""Fine-tune a base policy on the robot until its robot time is up. `--show-args` names what can be set."""

from tmrl_ros.session.launching import describe


def generate_launch_description():
    return describe("finetune")
