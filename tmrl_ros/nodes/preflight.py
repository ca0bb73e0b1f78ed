"""Listens to a robot for a few seconds, commands nothing, and gathers what robot/preflight.py judges."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from tmrl_ros.config import FrankaConfig, SupervisorConfig
from tmrl_ros.errors import TmrlError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.robot.preflight import Finding, Heard, Seen, check
from tmrl_ros.types import RobotState

SOURCES = {"joint_states": topics.JOINT_STATES, "gripper": topics.GRIPPER_STATES, "wrench": topics.WRENCH}
SETTLE_S = 1.0  # discovery, before what is heard counts


def run(config: SupervisorConfig, franka: FrankaConfig, seconds: float, namespace: str, folder: Path) -> list[Finding]:
    """Findings about the robot in `namespace`, with this machine's DDS settings; `folder` is where runs will lie."""
    runtime.use_loopback(os.environ)
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = Preflight(context, namespace)
        node.listen(SETTLE_S)
        node.forget()
        node.ask_controllers()
        node.listen(seconds)
        seen = node.seen(seconds, shutil.disk_usage(folder).free / 1e9)
        return check(seen, config, franka.recovery.controllers)
    finally:
        rclpy.try_shutdown(context=context)


class Preflight(Node):
    def __init__(self, context, namespace: str):
        super().__init__("preflight", context=context, namespace=namespace)
        self._executor = runtime.make_executor(context)
        self._executor.add_node(self)
        self._newest, self._missing, self._robot, self._controllers = {}, [], None, None
        self.forget()
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
        self._came_s[name].append(time.monotonic() - self._began_s)
        self._age_s[name].append((self.get_clock().now().nanoseconds - convert.stamp_of(message)) * 1e-9)

    def forget(self) -> None:
        self._began_s = time.monotonic()
        self._came_s, self._age_s = {name: [] for name in SOURCES}, {name: [] for name in SOURCES}

    def listen(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def seen(self, seconds: float, free_gb: float) -> Seen:
        heard = {
            name: Heard(
                self.count_publishers(topic.name), seconds, np.array(self._came_s[name]), np.array(self._age_s[name])
            )
            for name, topic in SOURCES.items()
        }
        commanders = self.get_publishers_info_by_topic(topics.TRAJECTORY.name)
        state, unread = self._state()
        robot = self._robot
        mode, errors = (None, []) if robot is None else (int(robot.robot_mode), convert.errors_from(robot))
        return Seen(
            heard, state, len(commanders), sum(info.node_name == "supervisor" for info in commanders),
            self.count_subscribers(topics.TRAJECTORY.name), free_gb, self._controllers, mode, tuple(errors),
            tuple(self._missing), unread,
        )  # fmt: skip

    def _state(self) -> tuple[RobotState | None, str]:
        """The newest state, or None and why it cannot be read; that a topic is silent is said by its own finding."""
        try:
            return convert.robot_state_from(*(self._newest[name] for name in SOURCES)), ""
        except KeyError:
            return None, ""
        except TmrlError as error:
            return None, str(error)
