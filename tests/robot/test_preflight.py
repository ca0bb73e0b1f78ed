"""What a pre-flight finds, and that it hears a robot that is there."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros import fr3
from tmrl_ros.config import RecoveryConfig, SupervisorConfig
from tmrl_ros.robot.preflight import Heard, Seen, check
from tmrl_ros.types import RobotState

sys.path.append(str(Path(__file__).parents[1] / "interfaces"))
import stand_ins

CONFIG = SupervisorConfig()


def heard(rate_hz=1000.0, seconds=2.0, age_s=0.001, publishers=1):
    came_s = np.arange(0.5, rate_hz * seconds) / rate_hz
    return Heard(publishers, seconds, came_s, np.full(len(came_s), age_s))


def arm(q=fr3.HOME_Q, dq=0.0, force_n=0.0):
    return RobotState(1, np.array(q, float), np.full(7, dq), 0.08, np.array([0, 0, force_n]))


GOOD = Seen(
    {"joint_states": heard(), "gripper": heard(15), "wrench": heard()}, arm(), commanders=1, supervisors=1, listeners=1,
    free_gb=100, controllers=dict.fromkeys(RecoveryConfig().controllers, "active"), robot_mode=1,
)  # fmt: skip


def bad(seen, *controllers):
    return {f.what: f for f in check(seen, CONFIG, *controllers) if f.level != "ok"}


def topic(name, **changes):
    return replace(GOOD, topics={**GOOD.topics, name: heard(**changes)})


def test_a_robot_that_is_well_has_nothing_to_put_right():
    assert bad(GOOD) == {}


@pytest.mark.parametrize(
    ("seen", "level", "what", "words"),
    [
        (topic("joint_states", rate_hz=0), "fail", "joint_states", "nothing heard"),
        (topic("joint_states", rate_hz=10), "fail", "joint_states", "10 Hz; at least 19"),
        (topic("joint_states", publishers=2), "fail", "joint_states", "2 publishers"),
        (topic("gripper", rate_hz=0), "fail", "gripper", "nothing heard"),
        (topic("wrench", rate_hz=4), "fail", "wrench", "4 Hz"),
        (topic("joint_states", age_s=0.012), "warn", "clock", "12.0 ms in the past"),
        (topic("joint_states", age_s=-0.2), "fail", "clock", "200.0 ms in the future"),
        (topic("joint_states", age_s=1e9), "fail", "clock", "in the past"),
        (replace(GOOD, state=arm(dq=0.1)), "fail", "arm", "0.10 rad/s"),
        (replace(GOOD, state=arm(q=[*fr3.HOME_Q[:6], 2.8])), "fail", "joints", "fr3_joint7 2.80"),
        (replace(GOOD, state=arm(q=[1.6, *fr3.HOME_Q[1:]])), "fail", "workspace", "outside the box"),
        (replace(GOOD, state=arm(force_n=7.0)), "warn", "payload", "7.0 N"),
        (replace(GOOD, state=arm(force_n=np.nan)), "warn", "payload", "nan N"),
        (replace(GOOD, commanders=2), "fail", "command", "1 publishers of the command besides"),
        (replace(GOOD, listeners=0), "fail", "command", "nobody listens"),
        (replace(GOOD, controllers={}), "fail", "controllers", "not loaded"),
        (
            replace(GOOD, controllers={**GOOD.controllers, "joint_trajectory_controller": "inactive"}),
            "fail", "controllers", "joint_trajectory_controller is inactive",
        ),
        (replace(GOOD, controllers=None), "warn", "controllers", "cannot be listed"),
        (replace(GOOD, state=None, unread="joint state has no fr3_joint1"), "fail", "state", "has no fr3_joint1"),
        (replace(GOOD, robot_mode=0), "warn", "robot", "other"),
        (replace(GOOD, robot_mode=9), "warn", "robot", "mode is 9"),
        (replace(GOOD, robot_mode=3), "fail", "robot", "guiding"),
        (replace(GOOD, robot_mode=6), "fail", "robot", "automatic error recovery"),
        (replace(GOOD, robot_errors=("cartesian_reflex", "self_collision")), "fail", "robot", "cartesian reflex, self"),
        (replace(GOOD, robot_mode=4), "fail", "robot", "reflex"),
        (replace(GOOD, robot_mode=5), "fail", "robot", "user stopped"),
        (replace(GOOD, robot_mode=None, missing=("franka_msgs",)), "warn", "robot", "cannot be read"),
        (replace(GOOD, free_gb=1), "warn", "disk", "1.0 GB"),
    ],
)  # fmt: skip
def test_each_thing_that_is_not_well_is_named_with_what_to_do(seen, level, what, words):
    found = bad(seen)
    assert set(found) == {what}
    assert found[what].level == level and words in found[what].says and found[what].do


def test_the_arm_of_a_cell_with_crisp_is_driven_by_the_controllers_that_its_file_names():
    own = ("joint_state_broadcaster", "joint_impedance_controller")
    seen = replace(GOOD, controllers=dict.fromkeys(own, "active"), listeners=0)
    assert bad(seen, own) == {}, "the node crisp listens once the session starts"
    found = bad(replace(seen, controllers={own[0]: "active"}), own)
    assert set(found) == {"controllers"} and found["controllers"].says == "joint_impedance_controller is not loaded"


def test_a_pause_of_the_joint_states_is_told_from_a_low_rate():
    came_s = np.concatenate([np.arange(0, 1, 0.001), np.arange(1.3, 2, 0.001)])
    pausing = Heard(1, 2.0, came_s, np.full(len(came_s), 0.001))
    found = bad(replace(GOOD, topics={**GOOD.topics, "joint_states": pausing}))
    assert "silent for 301 ms" in found["joint_states"].says


def test_the_command_hears_a_simulated_arm_and_says_what_keeps_it_from_a_session(ros_domain):
    options = ["--ros-args", "-p", "timing.real_time:=true", "-p", "timing.command_hz:=50"]
    sim = subprocess.Popen([sys.executable, "-m", "tmrl_ros.nodes", "sim", *options])
    try:
        command = [sys.executable, "-m", "tmrl_ros.session.cli", "preflight", "--seconds", "4"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        sim.terminate()
        sim.wait(20)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    rows = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines() if len(line.split()) > 2}
    assert rows["workspace"] == rows["payload"] == "ok"
    assert "nothing heard" not in done.stdout, "rates depend on the machine's load, arrival does not"
    assert rows["clock"] == "fail", "simulated time began at 1 s"
    assert done.stdout.splitlines()[-1].startswith("not ready: ")


def test_the_command_names_the_robots_errors_its_controllers_and_joints_that_it_cannot_read(
    ros_context, monkeypatch, tmp_path
):
    from fake_robot import FakeRobot
    from rclpy.node import Node

    from tmrl_ros.nodes import convert, topics

    for name, value in stand_ins.environment().items():
        monkeypatch.setenv(name, value)
    node, robot, known = Node("bench", context=ros_context), FakeRobot(), convert.arm_msg(arm())
    known.name = [f"left_{name}" for name in fr3.JOINT_NAMES]
    said = [
        (topic.publisher(node), message)
        for topic, message in (
            (topics.JOINT_STATES, known),
            (topics.GRIPPER_STATES, convert.fingers_msg(arm())),
            (topics.WRENCH, convert.wrench_msg(arm())),
        )
    ]
    robot.tell("mode 1 cartesian_reflex")
    file = tmp_path / "cell.yaml"
    file.write_text("/**/franka: {ros__parameters: {recovery.controllers: [joint_state_broadcaster, compliance]}}\n")
    command = [sys.executable, "-m", "tmrl_ros.session.cli", "preflight", "--params-file", str(file), "--seconds", "2"]
    preflight = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while preflight.poll() is None:
            for publisher, message in said:
                publisher.publish(message)
            time.sleep(0.02)
    finally:
        preflight.kill()
        robot.close()
        node.destroy_node()
    rows = {line.split()[1]: line for line in preflight.stdout if len(line.split()) > 2}
    assert "fail" in rows["state"] and "has no fr3_joint1; it names left_fr3_joint1" in rows["state"]
    assert "fail" in rows["robot"] and "its mode is idle, its errors are cartesian reflex" in rows["robot"]
    assert "fail" in rows["controllers"] and "compliance is not loaded" in rows["controllers"]
    assert "joint_state_broadcaster is" not in rows["controllers"]
