"""The perception node with cameras, as a process: in lockstep with the rendered simulation, and when streams fail."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from test_sim_graph import Driver

from tmrl_ros import fr3
from tmrl_ros.config import SimConfig
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import camera, convert, topics
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.sim_camera import SimCamera
from tmrl_ros.robot.view import surface_distance
from tmrl_ros.session.seeing import calibrated
from tmrl_ros.types import RobotState

sys.path.append(str(Path(__file__).parents[1] / "perception"))
import tabletop

PATIENCE_S = 30.0


def test_in_lockstep_every_observation_has_the_cloud_and_image_of_its_own_stamp(ros, tmp_path):
    context, start = ros
    config = SimConfig(render=True, seed=3)
    sim = SimRobot(config.task, config.timing, config.shift, config.seed)
    try:
        seen = SimCamera(sim, config.camera, config.shift).color()
    except ConfigError as error:
        pytest.skip(str(error))
    calibrated(config, camera.NAME).write(tmp_path / "calibration.json")
    start("sim", seed=3, render=True)
    start(
        "perception",
        **{
            "cameras.camera.width_px": config.camera.width_px,
            "cameras.camera.height_px": config.camera.height_px,
            "calibration": tmp_path / "calibration.json",
            "cloud.points": 256,
        },
    )
    driver = Driver(context)
    driver.run_ticks(9, partners=(topics.OBSERVATION,))
    observations = [convert.from_msg(message) for message in driver.heard[topics.OBSERVATION.name][:4]]
    first_ns = driver.stamps(topics.JOINT_STATES)[0]
    assert [o.stamp_ns for o in observations] == [first_ns + k * 100_000_000 for k in range(4)]
    np.testing.assert_allclose(observations[0].state[:3], fr3.HOME_TCP, atol=1e-6)
    assert len(observations[0].state) == 10
    for observation in observations:
        assert observation.cloud.shape == (256, 3)
        assert np.median(np.abs(surface_distance(sim, observation.cloud)).min(1)) < 0.003
    np.testing.assert_array_equal(observations[0].images["camera"], seen)
    driver.destroy_node()


class Lab(Node):
    """A camera and a robot that publish by the clock, and ears for what perception says."""

    def __init__(self, context):
        super().__init__("lab", context=context)
        self.color, self.depth, self.info = (t.publisher(self) for t in camera_topics("camera/front"))
        self.pose, self.desired = (t.publisher(self) for t in (topics.CURRENT_POSE, topics.DESIRED_POSE))
        self.joints, self.fingers = (t.publisher(self) for t in (topics.JOINT_STATES, topics.GRIPPER_STATES))
        self.silent, self.sent, self.observations, self.statuses = set(), 0, [], []
        topics.OBSERVATION.subscribe(self, lambda message: self.observations.append(convert.from_msg(message)))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.spinner = SingleThreadedExecutor(context=context)
        self.spinner.add_node(self)
        self.create_timer(1 / 30, self._publish)

    def _publish(self):
        now_ns = self.get_clock().now().nanoseconds
        self.sent += 1
        robot = RobotState(now_ns, np.zeros(7), np.zeros(7), 0.04, np.zeros(3))
        self.joints.publish(convert.arm_msg(robot))
        self.fingers.publish(convert.fingers_msg(robot))
        self.desired.publish(convert.pose_msg(now_ns, (0.4, 0.0, 0.31), (1, 0, 0, 0)))
        if "pose" not in self.silent:
            self.pose.publish(convert.pose_msg(now_ns, (0.4, 0.0, 0.3), (1, 0, 0, 0)))
        self.info.publish(info_msg(now_ns, "front", tabletop.INTRINSICS))
        self.color.publish(convert.image_msg(now_ns, "front", tabletop.colour(self.sent)))
        if "depth" not in self.silent:
            self.depth.publish(convert.image_msg(now_ns, "front", tabletop.depth(self.sent)))

    def _on_diagnostics(self, message):
        self.statuses += [status for status in message.status if status.name.startswith("perception: ")]

    def status(self, task):
        told = [status for status in self.statuses if status.name == f"perception: {task}"]
        return told[-1] if told else DiagnosticStatus(level=DiagnosticStatus.STALE)

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, (len(self.observations), self.statuses[-8:])
            self.spinner.spin_once(timeout_sec=0.05)

    def more(self, count):
        wanted = len(self.observations) + count
        self.until(lambda: len(self.observations) >= wanted)


def test_a_stream_that_fails_is_named_to_whoever_listens_and_observations_cease_until_it_is_back(ros, tmp_path):
    context, start = ros
    tabletop.calibration().write(tmp_path / "calibration.json")
    start(
        "perception",
        **{
            "timing.lockstep": False,
            "cameras.front.width_px": 64,
            "cameras.front.height_px": 48,
            "calibration": tmp_path / "calibration.json",
            "state": "joint_position tcp_position tcp_position_error",
            "stream.silence_s": 1.0,  # and ages: this machine may be busy
            "stream.age_s": 1.0,
            **{f"cloud.{name}": value for name, value in tabletop.CLOUD.items()},
        },
    )
    lab = Lab(context)
    lab.more(5)
    observation = lab.observations[-1]
    assert observation.cloud.shape == (128, 3) and observation.images["front"].shape == (48, 64, 3)
    np.testing.assert_allclose(observation.cloud[:, 2], tabletop.BLOCK_M, atol=0.004)
    np.testing.assert_allclose(observation.state, [*np.zeros(7), 0.4, 0, 0.3, 0, 0, 0.01], atol=1e-6)
    lab.until(lambda: lab.status("observation").level == DiagnosticStatus.OK)

    for silent, name in (("depth", "front/depth"), ("pose", "tcp")):
        lab.silent.add(silent)
        lab.until(lambda: lab.status("observation").level == DiagnosticStatus.ERROR)
        assert name in lab.status("observation").message
        lab.until(lambda name=name: lab.status(name).level == DiagnosticStatus.WARN)
        heard, sent = len(lab.observations), lab.sent
        lab.until(lambda sent=sent: lab.sent > sent + 10)
        assert len(lab.observations) == heard
        lab.silent.clear()
        lab.more(5)
        lab.until(lambda: lab.status("observation").level == DiagnosticStatus.OK)
    lab.destroy_node()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cameras.front.width_px": 64}, "calibration is empty; name the file that `tmrl calibrate` wrote"),
        ({"cameras.front.width_px": 64, "calibration": "/nowhere.json"}, "calibration /nowhere.json: No such file"),
        (
            {"cameras.front.widht_px": 64},
            "cameras.front.widht_px is not a parameter of CameraView; did you mean width_px",
        ),
    ],
)
def test_a_bad_parameter_is_one_sentence_and_status_2(options, sentence):
    words = [part for name, value in options.items() for part in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "tmrl_ros.nodes", "perception", "--ros-args", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
