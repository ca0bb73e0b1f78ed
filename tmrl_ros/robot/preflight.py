"""Is this robot ready for a session? Findings from what was heard of it; each that is not well says what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import RecoveryConfig, SupervisorConfig
from tmrl_ros.robot.franka_recovery import RobotMode
from tmrl_ros.types import RobotState

CLOCK_S = 0.005  # between the robot's clock and this machine's, beyond which windows come late or early
REST_N = 5.0  # of the estimated force on an arm that touches nothing
STILL_RAD_S = 0.01
ROOM_GB = 5.0
NEEDED_HZ = {"gripper": 5.0, "wrench": 8.0}  # at least, beside the joint states
WHERE = {
    "joint_states": "start the robot: ros2 launch tmrl_ros robot.launch.py robot_ip:=ADDRESS; the driver's own "
    "topic is 1 kHz, joint_states of the broadcaster too slow",
    "gripper": "start franka_gripper (load_gripper:=true)",
    "wrench": "load franka_robot_state_broadcaster",
}

TRAJECTORY = "joint_trajectory_controller"
SPAWN = "ros2 run controller_manager spawner"
SPAWN_TRAJECTORY = f"{SPAWN} {TRAJECTORY} --param-file $(ros2 pkg prefix --share tmrl_ros)/config/controllers.yaml"
NETWORK = (  # see nodes/runtime.py: use_loopback
    "start the robot: ros2 launch tmrl_ros robot.launch.py robot_ip:=ADDRESS; its driver must have this ROS_DOMAIN_ID, "
    "and on another machine needs ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET, exported in every terminal, this one too"
)

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
    robot_errors: tuple[str, ...] = ()  # flags that it raises
    missing: tuple[str, ...] = ()  # optional packages that are not installed
    unread: str = ""  # why what was heard is no state
    images: Mapping[str, Heard] = field(default_factory=dict)  # of perception's cameras, "front/color", "front/depth"
    calibration: str | None = None  # why that of the cameras is not good, empty if it is; None: no cameras
    domain_id: int = 0


def check(
    seen: Seen, config: SupervisorConfig, controllers: Sequence[str] = RecoveryConfig().controllers
) -> list[Finding]:
    """Everything that a session needs of the robot, in the order in which to put it right.

    `controllers` have to be active; without joint_trajectory_controller among them, CRISP's drive the arm.
    """
    findings = _network(seen) + [_topic(name, heard, config) for name, heard in seen.topics.items()]
    findings += _clock(seen.topics["joint_states"], config)
    if seen.state is not None:
        findings += _arm(seen.state, config)
    elif all(len(heard.came_s) for heard in seen.topics.values()):
        do = "nothing is known of posture and payload: see that names (no arm_prefix), speeds and numbers are all there"
        findings.append(Finding("fail", "state", seen.unread, do))
    findings += [_command(seen, controllers), _controllers(seen, controllers), _mode(seen)]
    findings += _cameras(seen)
    room = Finding("ok", "disk", f"{seen.free_gb:.0f} GB free")
    if seen.free_gb < ROOM_GB:
        room = Finding("warn", "disk", f"{seen.free_gb:.1f} GB free", f"make room: an hour may take {ROOM_GB:g} GB")
    return [*findings, room]


def _network(seen: Seen) -> list[Finding]:
    if any(len(heard.came_s) for heard in (*seen.topics.values(), *seen.images.values())):
        return []
    return [Finding("fail", "network", f"nothing at all is heard with ROS_DOMAIN_ID={seen.domain_id}", NETWORK)]


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


def _command(seen: Seen, controllers: Sequence[str]) -> Finding:
    if seen.commanders > seen.supervisors:
        says = f"{seen.commanders - seen.supervisors} publishers of the command besides the supervisor"
        return Finding("fail", "command", says, "stop them: MoveIt, rqt_joint_trajectory_controller, a script")
    if not seen.listeners and TRAJECTORY in controllers:  # the node crisp starts with the session
        return Finding("fail", "command", "nobody listens to the command", SPAWN_TRAJECTORY)
    return Finding("ok", "command", "the supervisor's alone")


def _controllers(seen: Seen, controllers: Sequence[str]) -> Finding:
    if seen.controllers is None:
        return Finding("warn", "controllers", "cannot be listed", _install(seen, "controller_manager_msgs"))
    states = {name: seen.controllers.get(name, "not loaded") for name in controllers}
    if wrong := {name: state for name, state in states.items() if state != "active"}:
        says = ", ".join(f"{name} is {state}" for name, state in wrong.items())
        do = "; ".join([*_to_activate(wrong), "or correct franka's recovery.controllers"])
        return Finding("fail", "controllers", says, do)
    return Finding("ok", "controllers", f"{', '.join(controllers)} active")


def _to_activate(states: Mapping[str, str]) -> list[str]:
    """The commands that make these active, from whatever state each is in."""
    inactive = [name for name, state in states.items() if state == "inactive"]
    others = [name for name in states if name not in (*inactive, TRAJECTORY)]
    commands = [f"{SPAWN} {' '.join(others)}"] if others else []
    if states.get(TRAJECTORY, "inactive") != "inactive":
        commands.append(SPAWN_TRAJECTORY)
    return commands + ([f"ros2 control switch_controllers --activate {' '.join(inactive)}"] if inactive else [])


def _cameras(seen: Seen) -> list[Finding]:
    if seen.calibration is None:
        return []
    findings = [Finding("ok", "calibration", "of every camera")]
    if seen.calibration:
        do = "tmrl calibrate CAMERA FILE, and name the file in perception.calibration; or correct perception.cameras"
        findings = [Finding("fail", "calibration", seen.calibration, do)]
    return findings + [_images(name, heard) for name, heard in seen.images.items()]


def _images(name: str, heard: Heard) -> Finding:
    if not len(heard.came_s):
        do = f"start its driver (camera:=true), or correct perception.cameras.{name.partition('/')[0]}.topic"
        return Finding("fail", name, f"nothing heard in {heard.seconds:g} s", do)
    if heard.publishers > 1:
        return Finding("fail", name, f"{heard.publishers} publishers", "stop all but one of its drivers")
    return Finding("ok", name, f"{heard.rate_hz:.0f} Hz")


MODES = ("other", "idle", "moving", "guiding", "reflex", "user stopped", "automatic error recovery")
MODES_TO_DO = {
    RobotMode.GUIDING: "let go of the arm",
    RobotMode.REFLEX: "look why, then recover",
    RobotMode.USER_STOPPED: "release the user stop, then recover",
    RobotMode.RECOVERING: "wait until it has recovered",
}


def _mode(seen: Seen) -> Finding:
    if seen.robot_mode is None:
        return Finding("warn", "robot", "its mode and errors cannot be read", _install(seen, "franka_msgs"))
    says = f"its mode is {MODES[seen.robot_mode] if 0 <= seen.robot_mode < len(MODES) else seen.robot_mode}"
    if seen.robot_errors:
        says += f", its errors are {', '.join(name.replace('_', ' ') for name in seen.robot_errors)}"
    if seen.robot_errors or seen.robot_mode in MODES_TO_DO:
        return Finding("fail", "robot", says, MODES_TO_DO.get(seen.robot_mode, "look why, then recover"))
    if seen.robot_mode not in (RobotMode.IDLE, RobotMode.MOVE):
        return Finding("warn", "robot", says, "see in Desk that the joints are unlocked and FCI is active")
    return Finding("ok", "robot", says)


def _install(seen: Seen, package: str) -> str:
    if package in seen.missing:
        return f"install {package}; without it this stays unknown"
    return "is its node running?"
