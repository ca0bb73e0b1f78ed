"""sim, perception and teleop as processes of their own, commanded by this one over DDS."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tmrl_msgs.srv import ResetObjects
from tmrl_ros import fr3
from tmrl_ros.config import Shift, Task, Timing
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import camera, convert, topics
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.trajectory import hold

PATIENCE_S = 30.0
HEARD = (
    topics.JOINT_STATES,
    topics.TASK_STATE,
    topics.OBJECTS,
    topics.OBSERVATION,
    topics.JOY,
    camera.COLOR,
    topics.CURRENT_POSE,
)


class Driver(Node):
    """Stands in for the supervisor: hears everything, commands the arm to stand at home."""

    def __init__(self, context):
        super().__init__("driver", context=context)
        self.heard = {topic.name: [] for topic in HEARD}
        for topic in HEARD:
            topic.subscribe(self, self.heard[topic.name].append)
        self.gripper = topics.GRIPPER_COMMAND.lossless(True).publisher(self)
        self.trajectory = None
        self.reset = topics.RESET_OBJECTS.client(self)
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)

    def until(self, condition, timeout_s=PATIENCE_S):
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, {name: len(messages) for name, messages in self.heard.items()}
            self.executor_.spin_once(timeout_sec=0.1)

    def begin(self, partners=()):
        """Once sim and partners are there, advertise the command: a lockstep simulation begins with it."""
        self.until(lambda: self.count_publishers(topics.JOINT_STATES.name))
        self.until(lambda: all(self.count_publishers(partner.name) for partner in partners))
        time.sleep(0.5)  # discovery goes both ways
        self.trajectory = topics.TRAJECTORY.lossless(True).publisher(self)
        self.until(lambda: self.heard[topics.JOINT_STATES.name])

    def stamps(self, topic):
        return [convert.stamp_of(message) for message in self.heard[topic.name]]

    def arm_stamp_ns(self):
        return self.stamps(topics.JOINT_STATES)[-1]

    def run_ticks(self, ticks, partners=()):
        """Answer so many ticks, each once the partners have spoken for its stamp."""
        if not self.trajectory:
            self.begin(partners)
        for _ in range(ticks):
            now_ns = self.arm_stamp_ns()
            if now_ns % 100_000_000 == 0:
                self.until(lambda now_ns=now_ns: all(now_ns in self.stamps(partner) for partner in partners))
                self.gripper.publish(convert.width_msg(now_ns, 0.08))
            self.trajectory.publish(convert.to_msg(hold(now_ns, fr3.HOME_Q)))
            self.until(lambda now_ns=now_ns: self.arm_stamp_ns() > now_ns)


@pytest.fixture
def graph(ros_context):
    """start(*nodes, **sim_parameters) -> Driver; everything ends with the test."""
    processes, drivers = [], []

    def start(*nodes, **parameters):
        for node in nodes:
            options = [f"{name.replace('__', '.')}:={value}" for name, value in parameters.items()]
            main = f"from tmrl_ros.nodes.{node} import main; main()"
            command = [
                sys.executable,
                "-c",
                main,
                "--ros-args",
                *(part for option in options for part in ("-p", option) if node == "sim"),
            ]
            processes.append(subprocess.Popen(command))
        drivers.append(Driver(ros_context))
        return drivers[-1]

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
    assert [process.wait(10) for process in processes] == [0] * len(processes)
    for driver in drivers:
        driver.destroy_node()


def test_lockstep_answers_every_observation_tick_with_its_own_stamp(graph):
    driver = graph("sim", "perception", "teleop", seed=3, shift__camera_bias_m="[0.0, -0.05, 0.0]")
    driver.run_ticks(21, partners=(topics.OBSERVATION, topics.JOY))
    ticks = driver.stamps(topics.JOINT_STATES)
    np.testing.assert_array_equal(np.diff(ticks), 50_000_000)
    for topic in (topics.OBSERVATION, topics.JOY):
        np.testing.assert_array_equal(driver.stamps(topic)[:10], ticks[0] + 100_000_000 * np.arange(10))

    sim = SimRobot(Task(), Timing(), Shift(camera_bias_m=(0, -0.05, 0)), 3)
    first = driver.heard[topics.OBSERVATION.name][0]
    seen_m = np.add(first.state[:3], first.state[4:7])  # the object is reported from the TCP
    np.testing.assert_allclose(seen_m, sim.observed_objects()[0], atol=1e-6)
    np.testing.assert_allclose(first.state[:3], fr3.HOME_TCP, atol=1e-6)


def test_sim_waits_for_both_commands_of_an_observation_tick(graph):
    driver = graph("sim", timing__lockstep_timeout_s=20.0)
    driver.begin()
    now_ns = driver.arm_stamp_ns()
    driver.trajectory.publish(convert.to_msg(hold(now_ns, fr3.HOME_Q)))
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        driver.executor_.spin_once(timeout_sec=0.1)
    assert driver.arm_stamp_ns() == now_ns
    driver.gripper.publish(convert.width_msg(now_ns, 0.08))
    driver.until(lambda: driver.arm_stamp_ns() == now_ns + 50_000_000)


def test_first_tick_is_repeated_until_someone_answers(graph):
    driver = graph("sim", timing__lockstep_timeout_s=0.2)
    driver.begin()
    driver.until(lambda: len(driver.heard[topics.JOINT_STATES.name]) >= 4)
    assert set(driver.stamps(topics.JOINT_STATES)) == {driver.arm_stamp_ns()}


def test_silence_lets_time_go_on_and_the_arm_stand(graph):
    driver = graph("sim", timing__lockstep_timeout_s=0.2)
    driver.run_ticks(1)
    driver.until(lambda: len(driver.heard[topics.JOINT_STATES.name]) >= 4)
    last = driver.heard[topics.JOINT_STATES.name][-1]
    np.testing.assert_allclose(last.position, fr3.HOME_Q, atol=1e-3)


def test_real_time_is_paced_by_the_wall_clock_and_waits_for_nobody(graph):
    driver = graph("sim", timing__real_time=True, timing__lockstep=False)
    driver.until(lambda: len(driver.heard[topics.JOINT_STATES.name]) >= 5)
    before_s, before_ns = time.monotonic(), driver.arm_stamp_ns()
    driver.until(lambda: driver.arm_stamp_ns() >= before_ns + 1_000_000_000)
    assert time.monotonic() - before_s > 0.8


def test_a_window_of_another_clock_neither_runs_nor_stands_in_the_way(graph):
    driver = graph("sim", timing__real_time=True, timing__lockstep=False)
    driver.until(lambda: driver.heard[topics.JOINT_STATES.name])
    driver.begin(())
    driver.trajectory.publish(convert.to_msg(hold(driver.arm_stamp_ns() + 10_000_000_000, np.add(fr3.HOME_Q, 0.3))))
    wanted = np.add(fr3.HOME_Q, 0.02)

    def follows():
        driver.trajectory.publish(convert.to_msg(hold(driver.arm_stamp_ns(), wanted)))
        return np.allclose(driver.heard[topics.JOINT_STATES.name][-1].position, wanted, atol=2e-3)

    driver.until(follows)
    q = np.array([message.position for message in driver.heard[topics.JOINT_STATES.name]])
    assert np.abs(q - fr3.HOME_Q).max() < 0.1


def test_reset_service_places_the_objects_of_that_episode(graph):
    driver = graph("sim", seed=5)
    driver.run_ticks(2)
    driver.until(driver.reset.service_is_ready)
    answer = driver.reset.call_async(ResetObjects.Request(stream=7, episode=11))
    driver.until(answer.done)
    assert answer.result().ok
    driver.heard[topics.OBJECTS.name].clear()
    driver.run_ticks(2)
    driver.until(lambda: driver.heard[topics.OBJECTS.name])
    sim = SimRobot(Task(), Timing(), Shift(), 5)
    sim.reset_objects(7, 11)
    seen = convert.objects_from(driver.heard[topics.OBJECTS.name][-1])
    np.testing.assert_allclose(seen, sim.true_objects(), atol=1e-4)


def test_rendered_image_shows_the_scene(graph):
    try:
        SimRobot(Task(), Timing(), Shift(), 0).render(height=60, width=80)
    except ConfigError as error:
        pytest.skip(str(error))
    driver = graph("sim", render=True)
    driver.begin()
    driver.until(lambda: driver.heard[camera.COLOR.name])
    image = convert.image_from(driver.heard[camera.COLOR.name][0])
    assert image.shape == (240, 320, 3) and image.std() > 10
