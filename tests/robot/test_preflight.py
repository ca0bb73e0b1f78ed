"""What a pre-flight finds, and that it hears a robot that is there."""

import re
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


def cell(**changes):
    """A robot with a camera."""
    return replace(
        GOOD, **{"images": {"front/depth": heard(30), "front/color": heard(30)}, "calibration": ""} | changes
    )


def topic(name, **changes):
    return replace(GOOD, topics={**GOOD.topics, name: heard(**changes)})


def test_a_robot_that_is_well_has_nothing_to_put_right():
    assert bad(GOOD) == bad(cell()) == {}
    assert {f.what for f in check(cell(), CONFIG)} >= {"calibration", "front/depth", "front/color"}


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
        (cell(calibration="cameras.json: No such file"), "fail", "calibration", "cameras.json: No such file"),
        (cell(images={"front/depth": heard(0)}), "fail", "front/depth", "nothing heard in 2 s"),
        (cell(images={"front/color": heard(30, publishers=2)}), "fail", "front/color", "2 publishers"),
        (replace(GOOD, free_gb=1), "warn", "disk", "1.0 GB"),
    ],
)  # fmt: skip
def test_each_thing_that_is_not_well_is_named_with_what_to_do(seen, level, what, words):
    found = bad(seen)
    assert set(found) == {what}
    assert found[what].level == level and words in found[what].says and found[what].do


SPAWNS = "ros2 run controller_manager spawner"
FILE = "$(ros2 pkg prefix --share tmrl_ros)/config/controllers.yaml"


@pytest.mark.parametrize(
    ("states", "commands"),
    [
        (
            {"joint_trajectory_controller": "not loaded"},
            [f"{SPAWNS} joint_trajectory_controller --param-file {FILE}"],
        ),
        (
            {"joint_trajectory_controller": "inactive", "joint_state_broadcaster": "inactive"},
            ["ros2 control switch_controllers --activate joint_state_broadcaster joint_trajectory_controller"],
        ),
        (
            {"franka_robot_state_broadcaster": "not loaded", "joint_trajectory_controller": "inactive"},
            [
                f"{SPAWNS} franka_robot_state_broadcaster",
                "ros2 control switch_controllers --activate joint_trajectory_controller",
            ],
        ),
    ],
)
def test_controllers_are_activated_from_whatever_state_they_are_in(states, commands):
    there = {name: state for name, state in {**GOOD.controllers, **states}.items() if state != "not loaded"}
    do = bad(replace(GOOD, controllers=there))["controllers"].do
    assert do.split("; ") == [*commands, "or correct franka's recovery.controllers"]


def test_the_file_that_the_hint_names_is_there():
    do = bad(replace(GOOD, listeners=0))["command"].do
    assert (Path(__file__).parents[2] / do.split("tmrl_ros)/")[1]).is_file()


def test_where_nothing_at_all_is_heard_the_network_is_named_first():
    silent = dict.fromkeys(GOOD.topics, heard(0))
    first, *others = check(replace(GOOD, topics=silent, domain_id=7), CONFIG)
    assert (first.level, first.what) == ("fail", "network") and "ROS_DOMAIN_ID=7" in first.says
    assert "robot.launch.py" in first.do and "ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET" in first.do
    assert {f.what for f in others} >= {"joint_states", "gripper", "wrench"}
    assert "network" not in bad(cell(topics=silent)), "the camera is heard"


def test_the_discovery_range_that_the_hint_names_opens_the_network():
    runtime = pytest.importorskip("tmrl_ros.nodes.runtime")
    alone, subnet = {}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    runtime.use_loopback(alone)
    runtime.use_loopback(subnet)
    assert str(runtime.PROFILE) in alone.values() and subnet == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}


def run_preflight(file):
    command = [sys.executable, "-m", "tmrl_ros.session.cli", "preflight", "--seconds", "1", "--params-file", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "/**/perception: {ros__parameters: {cameras.front.widht_px: 64}}",
            "section perception: .*mean width_px",
        ),
        ("/**/learner: {ros__parameters: {sac.batch: many}}", "section learner: .*sac.batch = 'many'"),
        ("/**/percepton: {ros__parameters: {}}", "no node percepton; did you mean perception"),
    ],
)
def test_a_misspelt_parameter_file_is_refused_before_anything_is_listened_to(text, sentence, tmp_path):
    pytest.importorskip("rclpy")
    (tmp_path / "cell.yaml").write_text(f"{text}\n")
    done = run_preflight(tmp_path / "cell.yaml")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "ready" not in done.stdout
    assert re.search(sentence, done.stderr.replace("\n", " "))


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
    from tmrl_ros.nodes.camera_topics import camera_topics

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
            (camera_topics("seen").color, convert.image_msg(1, "front", np.zeros((4, 4, 3), np.uint8))),
        )
    ]
    robot.tell("mode 1 cartesian_reflex")
    file = tmp_path / "cell.yaml"
    file.write_text(
        "/**/franka: {ros__parameters: {recovery.controllers: [joint_state_broadcaster, compliance]}}\n"
        "/**/perception: {ros__parameters: {cameras.front.topic: seen, calibration: none.json}}\n"
    )
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
    assert rows["front/color"].split()[0] == "ok" and rows["front/depth"].split()[0] == "fail"
    assert "fail" in rows["calibration"] and "No such file" in rows["calibration"]
