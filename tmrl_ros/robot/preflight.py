"""Is this robot ready for a session? Findings from what was heard of it; each that is not well says what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SupervisorConfig
from tmrl_ros.types import RobotState

CLOCK_S = 0.005  # between the robot's clock and this machine's, beyond which windows come late or early
REST_N = 5.0  # of the estimated force on an arm that touches nothing
STILL_RAD_S = 0.01
ROOM_GB = 5.0
NEEDED_HZ = {"gripper": 5.0, "wrench": 8.0}  # at least, beside the joint states
WHERE = {
    "joint_states": "start franka_bringup; the driver's own topic is 1 kHz, joint_states of the broadcaster too slow",
    "gripper": "start franka_gripper (load_gripper:=true)",
    "wrench": "load franka_robot_state_broadcaster",
}

Level = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    level: Level
    what: str
    says: str
    do: str = ""


@dataclass(frozen=True)
class Heard:
    """One topic during `seconds`: when messages came and how old their stamps were then [n], s."""

    publishers: int
    seconds: float
    came_s: np.ndarray
    age_s: np.ndarray

    @property
    def rate_hz(self) -> float:
        return len(self.came_s) / self.seconds

    @property
    def gap_s(self) -> float:
        """The longest silence."""
        return float(np.diff([0.0, *self.came_s, self.seconds]).max())


@dataclass(frozen=True)
class Seen:
    """All that a pre-flight listens to; None: it cannot be asked here."""

    topics: Mapping[str, Heard]  # "joint_states", "gripper", "wrench"
    state: RobotState | None  # the newest
    commanders: int  # publishers of the command, a supervisor's own included
    supervisors: int
    listeners: int  # subscribers of the command
    free_gb: float
    controllers: Mapping[str, str] | None = None  # name: state
    robot_mode: int | None = None  # of franka_msgs
    missing: tuple[str, ...] = field(default=())  # optional packages that are not installed


def check(seen: Seen, config: SupervisorConfig) -> list[Finding]:
    """Everything that a session needs of the robot, in the order in which to put it right."""
    findings = [_topic(name, heard, config) for name, heard in seen.topics.items()]
    findings += _clock(seen.topics["joint_states"], config)
    if seen.state is not None:
        findings += _arm(seen.state, config)
    findings += [_command(seen), *_controllers(seen), *_mode(seen)]
    room = Finding("ok", "disk", f"{seen.free_gb:.0f} GB free")
    if seen.free_gb < ROOM_GB:
        room = Finding("warn", "disk", f"{seen.free_gb:.1f} GB free", f"make room: an hour may take {ROOM_GB:g} GB")
    return [*findings, room]


def _topic(name: str, heard: Heard, config: SupervisorConfig) -> Finding:
    needed_hz, gap_s = NEEDED_HZ.get(name, 0.95 * config.timing.command_hz), config.limits.state_timeout_s
    if not len(heard.came_s):
        return Finding("fail", name, f"nothing heard in {heard.seconds:g} s", WHERE[name])
    if heard.publishers > 1:
        return Finding("fail", name, f"{heard.publishers} publishers", "stop all but the robot's own")
    if heard.rate_hz < needed_hz:
        return Finding("fail", name, f"{heard.rate_hz:.0f} Hz; at least {needed_hz:.0f} are needed", WHERE[name])
    if name == "joint_states" and heard.gap_s > gap_s:
        do = "look for load on this machine and for Wi-Fi or a switch on the way; or raise limits.state_timeout_s"
        return Finding("fail", name, f"silent for {1e3 * heard.gap_s:.0f} ms; {1e3 * gap_s:.0f} ms hold the arm", do)
    return Finding("ok", name, f"{heard.rate_hz:.0f} Hz, longest gap {1e3 * heard.gap_s:.0f} ms")


def _clock(heard: Heard, config: SupervisorConfig) -> list[Finding]:
    if not len(heard.age_s):
        return []
    age_s, do = float(np.median(heard.age_s)), "synchronise the two machines (chrony, PTP)"
    says = f"joint states are stamped {1e3 * abs(age_s):.1f} ms in the {'past' if age_s >= 0 else 'future'}"
    if age_s > config.limits.observation_age_s or -age_s > config.limits.future_stamp_s:
        return [Finding("fail", "clock", says, do)]
    return [Finding("warn", "clock", says, do) if abs(age_s) > CLOCK_S else Finding("ok", "clock", says)]


def _arm(state: RobotState, config: SupervisorConfig) -> list[Finding]:
    findings = []
    moving = np.abs(state.dq).max()
    if moving > STILL_RAD_S:
        findings.append(Finding("fail", "arm", f"a joint moves at {moving:.2f} rad/s", "wait until it stands"))
    outside = [
        f"{name} {q:.2f}"
        for name, q, low, high in zip(
            fr3.JOINT_NAMES, state.q, fr3.RECTANGULAR_Q_MIN, fr3.RECTANGULAR_Q_MAX, strict=True
        )
        if not low <= q <= high
    ]
    if outside:
        findings.append(Finding("fail", "joints", f"outside their range: {', '.join(outside)}", "guide the arm back"))
    tcp_m, low_m, high_m = kinematics.forward(state.q)[0], config.limits.workspace_min_m, config.limits.workspace_max_m
    where = f"TCP at {np.round(tcp_m, 3).tolist()} m"
    if (tcp_m < low_m).any() or (tcp_m > high_m).any():
        says = f"{where}, outside the box {list(low_m)} to {list(high_m)}"
        findings.append(Finding("fail", "workspace", says, "guide the arm into it, or set limits.workspace_*"))
    else:
        findings.append(Finding("ok", "workspace", where))
    force_n = float(np.linalg.norm(state.force_n))
    says = f"{force_n:.1f} N on the hand at rest"
    if not force_n <= REST_N:
        do = "nothing may touch the hand; else set the payload (service_server/set_load)"
        return [*findings, Finding("warn", "payload", says, do)]
    return [*findings, Finding("ok", "payload", says)]


def _command(seen: Seen) -> Finding:
    if seen.commanders > seen.supervisors:
        says = f"{seen.commanders - seen.supervisors} publishers of the command besides the supervisor"
        return Finding("fail", "command", says, "stop them: MoveIt, rqt_joint_trajectory_controller, a script")
    if not seen.listeners:
        do = "spawn joint_trajectory_controller on the effort interface"
        return Finding("fail", "command", "nobody listens to the command", do)
    return Finding("ok", "command", "the supervisor's alone")


def _controllers(seen: Seen) -> list[Finding]:
    if seen.controllers is None:
        return [Finding("warn", "controllers", "cannot be listed", _install(seen, "controller_manager_msgs"))]
    state = seen.controllers.get("joint_trajectory_controller")
    if state != "active":
        do = "ros2 control switch_controllers --activate joint_trajectory_controller"
        return [Finding("fail", "controllers", f"joint_trajectory_controller is {state or 'not loaded'}", do)]
    return [Finding("ok", "controllers", "joint_trajectory_controller is active")]


MODES = ("other", "idle", "moving", "guiding", "reflex", "user stopped", "automatic error recovery")


def _mode(seen: Seen) -> list[Finding]:
    if seen.robot_mode is None:
        return [Finding("warn", "robot", "its mode and errors cannot be read", _install(seen, "franka_msgs"))]
    name = MODES[seen.robot_mode] if 0 <= seen.robot_mode < len(MODES) else str(seen.robot_mode)
    if name in ("reflex", "user stopped"):
        do = "release the user stop, then recover" if name == "user stopped" else "look why, then recover"
        return [Finding("fail", "robot", f"its mode is {name}", do)]
    return [Finding("ok", "robot", f"its mode is {name}")]


def _install(seen: Seen, package: str) -> str:
    if package in seen.missing:
        return f"install {package}; without it this stays unknown"
    return "is its node running?"
