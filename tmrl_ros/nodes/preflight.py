"""Listens to a robot and its cameras, commands nothing, and gathers what robot/preflight.py judges."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from tmrl_ros.config import FrankaConfig, PerceptionConfig, SupervisorConfig
from tmrl_ros.errors import TmrlError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.camera_topics import camera_topics
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.perception.observer import Observer, streams_of
from tmrl_ros.robot.preflight import Finding, Heard, Seen, check
from tmrl_ros.types import RobotState

SOURCES = {"joint_states": topics.JOINT_STATES, "gripper": topics.GRIPPER_STATES, "wrench": topics.WRENCH}
SETTLE_S = 1.0  # discovery, before what is heard counts


def run(
    config: SupervisorConfig,
    franka: FrankaConfig,
    perception: PerceptionConfig,
    seconds: float,
    namespace: str,
    folder: Path,
) -> list[Finding]:
    """Findings about the robot in `namespace`, with this machine's DDS settings; `folder` is where runs will lie."""
    runtime.use_loopback(os.environ)
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = Preflight(context, namespace, perception)
        node.listen(SETTLE_S)
        node.forget()
        node.ask_controllers()
        node.listen(seconds)
        seen = node.seen(seconds, shutil.disk_usage(folder).free / 1e9)
        return check(seen, config, franka.recovery.controllers)
    finally:
        rclpy.try_shutdown(context=context)


def image_topics(perception: PerceptionConfig) -> dict[str, topics.Topic]:
    """The topics of the images that perception brings, by "camera/depth" and "camera/color"."""
    named = {}
    for stream in streams_of(perception):
        camera, _, kind = stream.partition("/")
        prefix = perception.cameras[camera].topic or f"camera/{camera}"
        named[stream] = getattr(camera_topics(prefix), kind)
    return named


def calibration_problem(perception: PerceptionConfig) -> str | None:
    """Why perception would not start with its cameras, empty if it would; None without cameras."""
    if not perception.cameras:
        return None
    if not perception.calibration:
        return "none is named"
    try:
        Observer(perception, Calibration.read(Path(perception.calibration)), 0.0)
    except TmrlError as error:
        return str(error)
    return ""


class Preflight(Node):
    def __init__(self, context, namespace: str, perception: PerceptionConfig):
        super().__init__("preflight", context=context, namespace=namespace)
        self._executor = runtime.make_executor(context)
        self._executor.add_node(self)
        self._newest, self._missing, self._robot, self._controllers = {}, [], None, None
        self._calibration, self._images = calibration_problem(perception), image_topics(perception)
        self.forget()
        for name, topic in self._images.items():  # raw: that they come is enough, and they are large
            topic.sensed(False).subscribe(self, lambda m, name=name: self._note(name), raw=True)
        for name, topic in SOURCES.items():
            topic.sensed(False).subscribe(self, lambda m, name=name: self._on(name, m))
        self._listen_to_franka()

    def _listen_to_franka(self) -> None:
        try:
            from franka_msgs.msg import FrankaRobotState
        except ImportError:
            return self._missing.append("franka_msgs")
        name = "franka_robot_state_broadcaster/robot_state"
        self.create_subscription(FrankaRobotState, name, self._on_franka, qos_profile_sensor_data)
        return None

    def _on_franka(self, message) -> None:
        self._robot = message

    def ask_controllers(self) -> None:
        """Once they have been discovered: a question that nobody hears is lost."""
        try:
            from controller_manager_msgs.srv import ListControllers
        except ImportError:
            return self._missing.append("controller_manager_msgs")
        self._lister = self.create_client(ListControllers, "controller_manager/list_controllers")
        self._lister.call_async(ListControllers.Request()).add_done_callback(self._on_controllers)
        return None

    def _on_controllers(self, future) -> None:
        self._controllers = {entry.name: entry.state for entry in future.result().controller}

    def _on(self, name, message) -> None:
        self._newest[name] = message
        self._note(name)
        self._age_s[name].append((self.get_clock().now().nanoseconds - convert.stamp_of(message)) * 1e-9)

    def _note(self, name) -> None:
        self._came_s[name].append(time.monotonic() - self._began_s)

    def forget(self) -> None:
        self._began_s = time.monotonic()
        self._came_s, self._age_s = ({name: [] for name in (*SOURCES, *self._images)} for _ in range(2))

    def listen(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def seen(self, seconds: float, free_gb: float) -> Seen:
        commanders = self.get_publishers_info_by_topic(topics.TRAJECTORY.name)
        state, unread = self._state()
        robot = self._robot
        mode, errors = (None, []) if robot is None else (int(robot.robot_mode), convert.errors_from(robot))
        supervisors = sum(info.node_name == "supervisor" for info in commanders)
        return Seen(
            self._heard(SOURCES, seconds), state, len(commanders), supervisors,
            self.count_subscribers(topics.TRAJECTORY.name), free_gb, self._controllers, mode, tuple(errors),
            tuple(self._missing), unread, self._heard(self._images, seconds), self._calibration,
            self.context.get_domain_id(),
        )  # fmt: skip

    def _heard(self, named: dict[str, topics.Topic], seconds: float) -> dict[str, Heard]:
        return {
            name: Heard(
                self.count_publishers(topic.name), seconds, np.array(self._came_s[name]), np.array(self._age_s[name])
            )
            for name, topic in named.items()
        }

    def _state(self) -> tuple[RobotState | None, str]:
        """The newest state, or None and why it cannot be read; that a topic is silent is said by its own finding."""
        try:
            return convert.robot_state_from(*(self._newest[name] for name in SOURCES)), ""
        except KeyError:
            return None, ""
        except TmrlError as error:
            return None, str(error)
