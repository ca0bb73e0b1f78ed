"""Records of types.py to ROS messages and back: the only file that knows both worlds.

`to_msg(record)` and `from_msg(message)` cover what is one message; a RobotState, which arrives in three, has functions
of its own. Array fields get array.array (rclpy copies lists and bytes element by element). What arrives with the wrong
size is refused here; NaN in an observation, a robot state or a command window too. NaN in an ActionChunk passes: the
supervisor refuses it and holds.
"""

from array import array
from enum import IntEnum
from functools import singledispatch
from typing import get_type_hints

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, PoseArray, PoseStamped, Quaternion, WrenchStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState, Joy
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from tmrl_msgs import msg as tm
from tmrl_ros import fr3
from tmrl_ros.errors import ActionError, DataError
from tmrl_ros.types import (
    ActionChunk,
    CommandWindow,
    Decision,
    DecisionRequest,
    EpisodeEvent,
    Mode,
    Modulation,
    Observation,
    RobotState,
    SessionStatus,
    TaskState,
    TeleopCommand,
)

NS = 1_000_000_000


@singledispatch
def to_msg(record):
    """The message of a record of types.py."""
    raise TypeError(f"no message for {type(record).__name__}")


@singledispatch
def from_msg(message):
    """The record of a message."""
    raise TypeError(f"no record for {type(message).__name__}")


# ---- time -----------------------------------------------------------------------------------------------------------


def to_time(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // NS, nanosec=stamp_ns % NS)


def to_ns(time: Time | Duration) -> int:
    return time.sec * NS + time.nanosec


def stamp_of(message) -> int:
    """ROS time in ns of any message with a header or a stamp."""
    return to_ns(message.header.stamp if hasattr(message, "header") else message.stamp)


def clock_msg(stamp_ns: int) -> Clock:
    return Clock(clock=to_time(stamp_ns))


def heartbeat_msg(observation_ns: int, name: str) -> Header:
    """That node `name` is well, and the stamp of the newest observation it has."""
    return _header(observation_ns, name)


def _header(stamp_ns: int, frame: str = fr3.BASE_FRAME) -> Header:
    return Header(stamp=to_time(stamp_ns), frame_id=frame)


# ---- arrays ---------------------------------------------------------------------------------------------------------


def _floats(values) -> array:
    return _array("f", np.float32, values)


def _doubles(values) -> array:
    return _array("d", np.float64, values)


def _array(code: str, dtype, values) -> array:
    out = array(code)
    out.frombytes(np.ascontiguousarray(values, dtype).tobytes())
    return out


def _float32(values) -> np.ndarray:
    return np.array(values, np.float32)


def _rows(values, rows: int, columns: int, name: str) -> np.ndarray:
    """float32 [rows, columns] of a flat field."""
    if len(values) != rows * columns:
        raise ActionError(f"{name} has {len(values)} values where {rows} rows of {columns} are {rows * columns}")
    return _float32(values).reshape(rows, columns)


def _finite(error: type, name: str, *values) -> None:
    if not all(np.isfinite(v).all() for v in values):
        raise error(f"{name} holds NaN or infinity; check its publisher")


def _enum(kind: type, value: int):
    try:
        return kind(value)
    except ValueError:
        valid = ", ".join(f"{member.value} {member.name}" for member in kind)
        raise DataError(f"{value} is not a {kind.__name__}; valid: {valid}") from None


# ---- observation ----------------------------------------------------------------------------------------------------


@to_msg.register
def _(record: Observation) -> tm.Observation:
    cloud = record.cloud
    return tm.Observation(
        header=_header(record.stamp_ns),
        state=_floats(record.state),
        image_names=list(record.images),
        images=[image_msg(record.stamp_ns, name, image) for name, image in record.images.items()],
        cloud=array("f") if cloud is None else _floats(cloud),
        cloud_columns=0 if cloud is None else cloud.shape[1],
    )


@from_msg.register
def _(message: tm.Observation) -> Observation:
    state, cloud = _float32(message.state), None
    if message.cloud_columns:
        if len(message.cloud) % message.cloud_columns:
            raise DataError(f"cloud of {len(message.cloud)} values has no rows of {message.cloud_columns}")
        cloud = _float32(message.cloud).reshape(-1, message.cloud_columns)
    if len(message.image_names) != len(message.images):
        raise DataError(f"observation names {len(message.image_names)} images and carries {len(message.images)}")
    _finite(DataError, "observation", state, cloud if cloud is not None else state)
    images = {name: image_from(image) for name, image in zip(message.image_names, message.images, strict=True)}
    return Observation(stamp_of(message), state, images, cloud)


def image_msg(stamp_ns: int, frame: str, image: np.ndarray) -> Image:
    """rgb8 from uint8 [h, w, 3]; 16UC1 (mm, 0 = invalid) from uint16 [h, w]."""
    height, width = image.shape[:2]
    encoding, size = ("rgb8", 3) if image.dtype == np.uint8 else ("16UC1", 2)
    return Image(
        header=_header(stamp_ns, frame),
        height=height,
        width=width,
        encoding=encoding,
        step=width * size,
        data=_array("B", image.dtype, image),
    )


def image_from(message: Image) -> np.ndarray:
    """uint8 [h, w, 3] from rgb8; uint16 [h, w] mm from 16UC1."""
    kinds = {"rgb8": (np.uint8, 3), "16UC1": (np.uint16, 1)}
    if message.encoding not in kinds:
        raise DataError(f"image encoding {message.encoding!r} is not known; valid: {', '.join(kinds)}")
    dtype, channels = kinds[message.encoding]
    data = np.frombuffer(message.data, np.uint8)
    row = message.width * channels * np.dtype(dtype).itemsize
    if message.step < row or data.size != message.step * message.height:
        raise DataError(f"image of {data.size} bytes is not {message.height} rows of {message.step} bytes")
    pixels = data.reshape(message.height, message.step)[:, :row].copy().view(dtype)
    return pixels.reshape(message.height, message.width, channels) if channels > 1 else pixels


# ---- decisions ------------------------------------------------------------------------------------------------------


@to_msg.register
def _(record: Modulation) -> tm.Modulation:
    return tm.Modulation(
        z=_floats(record.z),
        sigma=float(record.sigma),
        context_noise=_floats(record.context_noise),
        residual=_floats(record.residual),
    )


@from_msg.register
def _(message: tm.Modulation) -> Modulation:
    return Modulation(_float32(message.z), message.sigma, _float32(message.context_noise), _float32(message.residual))


@to_msg.register
def _(record: ActionChunk) -> tm.ActionChunk:
    rows, columns = record.actions.shape
    return tm.ActionChunk(
        header=_header(record.stamp_ns),
        episode=record.episode,
        decision=record.decision,
        dt_s=float(record.dt_s),
        action_horizon=rows,
        action_dim=columns,
        actions=_floats(record.actions),
        modulation=to_msg(record.modulation),
        actor_version=record.actor_version,
    )


@from_msg.register
def _(message: tm.ActionChunk) -> ActionChunk:
    return ActionChunk(
        stamp_of(message),
        message.episode,
        message.decision,
        message.dt_s,
        _rows(message.actions, message.action_horizon, message.action_dim, "action chunk"),
        from_msg(message.modulation),
        message.actor_version,
    )


@to_msg.register
def _(record: Decision) -> tm.Decision:
    rows, columns = record.actions.shape
    return tm.Decision(
        stamp=to_time(record.stamp_ns),
        next_stamp=to_time(record.next_stamp_ns),
        episode=record.episode,
        decision=record.decision,
        source=int(record.source),
        rows=rows,
        action_dim=columns,
        actions=_floats(record.actions),
        modulation=to_msg(record.modulation),
        actor_version=record.actor_version,
        reward=float(record.reward),
        terminated=record.terminated,
        truncated=record.truncated,
        success=record.success,
        greedy=record.greedy,
        robot_time_s=float(record.robot_time_s),
    )


@from_msg.register
def _(message: tm.Decision) -> Decision:
    _finite(DataError, "decision", message.actions, message.reward, message.robot_time_s)
    return Decision(
        to_ns(message.stamp),
        to_ns(message.next_stamp),
        message.episode,
        message.decision,
        _enum(Mode, message.source),
        _rows(message.actions, message.rows, message.action_dim, "decision"),
        from_msg(message.modulation),
        message.actor_version,
        message.reward,
        message.terminated,
        message.truncated,
        message.success,
        message.greedy,
        message.robot_time_s,
    )


def actor_update_msg(stamp_ns: int, version: int, method: str, parameters: bytes, metrics: dict) -> tm.ActorUpdate:
    """One actor version; `parameters` are the bytes of a safetensors file, empty while the learner warms up."""
    return tm.ActorUpdate(
        stamp=to_time(stamp_ns),
        version=version,
        method=method,
        parameters=array("B", parameters),
        metric_names=list(metrics),
        metric_values=_floats(list(metrics.values())),
    )


def metrics_of(message: tm.ActorUpdate) -> dict[str, float]:
    return dict(zip(message.metric_names, message.metric_values, strict=True))


# ---- requests, events, status ---------------------------------------------------------------------------------------


def _flat(record_type: type, message_type: type) -> None:
    """Registers both ways for a record of numbers, words and enums, named alike in its message but for the stamp."""
    kinds = get_type_hints(record_type)
    del kinds["stamp_ns"]
    enums = {name for name, kind in kinds.items() if issubclass(kind, IntEnum)}

    @to_msg.register(record_type)
    def _(record):
        values = {name: (int if name in enums else kind)(getattr(record, name)) for name, kind in kinds.items()}
        return message_type(stamp=to_time(record.stamp_ns), **values)

    @from_msg.register(message_type)
    def _(message):
        values = {name: getattr(message, name) for name in kinds}
        for name in enums:
            values[name] = _enum(kinds[name], values[name])
        return record_type(stamp_ns=stamp_of(message), **values)


_flat(DecisionRequest, tm.DecisionRequest)
_flat(EpisodeEvent, tm.EpisodeEvent)
_flat(SessionStatus, tm.SessionStatus)


# ---- task -----------------------------------------------------------------------------------------------------------


@to_msg.register
def _(record: TaskState) -> tm.TaskState:
    return tm.TaskState(
        header=_header(record.stamp_ns), success=bool(record.success), objects=[_point(p) for p in record.objects_m]
    )


@from_msg.register
def _(message: tm.TaskState) -> TaskState:
    objects_m = np.array([(p.x, p.y, p.z) for p in message.objects], float).reshape(-1, 3)
    _finite(DataError, "task state", objects_m)
    return TaskState(stamp_of(message), message.success, objects_m)


# ---- robot ----------------------------------------------------------------------------------------------------------


def _point(position) -> Point:
    x, y, z = (float(v) for v in position)
    return Point(x=x, y=y, z=z)


def pose_msg(stamp_ns: int, position, quaternion) -> PoseStamped:
    """position [3] m and quaternion [4] xyzw in the base frame."""
    x, y, z, w = (float(v) for v in quaternion)
    pose = Pose(position=_point(position), orientation=Quaternion(x=x, y=y, z=z, w=w))
    return PoseStamped(header=_header(stamp_ns), pose=pose)


def joint_target_msg(stamp_ns: int, q, dq) -> JointState:
    """Where the arm shall be now: positions and speeds [7] in the order of fr3.JOINT_NAMES, which CRISP relies on."""
    _finite(ActionError, "joint target", q, dq)
    header = _header(stamp_ns)
    return JointState(header=header, name=fr3.JOINT_NAMES, position=_doubles(q), velocity=_doubles(dq))


def position_of(message: PoseStamped) -> np.ndarray:
    """float64 [3], m."""
    p = message.pose.position
    position = np.array((p.x, p.y, p.z))
    _finite(DataError, "pose", position)
    return position


def objects_msg(stamp_ns: int, positions) -> PoseArray:
    """Perceived object positions [n, 3] m, base frame; orientation is not perceived."""
    return PoseArray(header=_header(stamp_ns), poses=[Pose(position=_point(p)) for p in positions])


def objects_from(message: PoseArray) -> np.ndarray:
    """float64 [n, 3], m, base frame."""
    points = [pose.position for pose in message.poses]
    positions = np.array([(p.x, p.y, p.z) for p in points], float).reshape(-1, 3)
    _finite(DataError, "objects", positions)
    return positions


def arm_msg(robot: RobotState) -> JointState:
    return JointState(
        header=_header(robot.stamp_ns),
        name=fr3.JOINT_NAMES,
        position=_doubles(robot.q),
        velocity=_doubles(robot.dq),
    )


def fingers_msg(robot: RobotState) -> JointState:
    """Each finger stands at half the width, as franka_gripper reports it."""
    half = robot.width_m / 2
    return JointState(header=_header(robot.stamp_ns), name=fr3.FINGER_NAMES, position=array("d", (half, half)))


def fingers_width(message: JointState) -> float:
    """The full opening, m."""
    width_m = float(sum(message.position))
    _finite(DataError, "fingers", width_m)
    return width_m


def wrench_msg(robot: RobotState) -> WrenchStamped:
    message = WrenchStamped(header=_header(robot.stamp_ns))
    force = message.wrench.force
    force.x, force.y, force.z = (float(v) for v in robot.force_n)
    return message


def robot_state_from(arm: JointState, fingers: JointState, wrench: WrenchStamped) -> RobotState:
    """The arm's stamp names the state; fingers and wrench may be older, they come less often."""
    q, dq = _in_order(arm, arm.position), _in_order(arm, arm.velocity)
    width_m = fingers_width(fingers)
    force = wrench.wrench.force
    force_n = np.array((force.x, force.y, force.z))
    _finite(DataError, "robot state", q, dq, width_m, force_n)
    return RobotState(stamp_of(arm), q, dq, width_m, force_n)


def _in_order(message, values) -> np.ndarray:
    """float64 [7] in the order of fr3.JOINT_NAMES, whatever order the message has."""
    names, values = tuple(message.name), np.array(values, float)
    if len(values) != len(names):
        raise DataError(f"joint state names {len(names)} joints and carries {len(values)} values")
    if names == fr3.JOINT_NAMES:
        return values
    missing = [name for name in fr3.JOINT_NAMES if name not in names]
    if missing:
        raise DataError(f"joint state has no {missing[0]}; it names {', '.join(names) or 'nothing'}")
    return values[[names.index(name) for name in fr3.JOINT_NAMES]]


def errors_from(message) -> list[str]:
    """Names of the flags that a franka_msgs/FrankaRobotState raises now; the type is imported where it is installed."""
    errors = message.current_errors
    return [name for name in errors.get_fields_and_field_types() if getattr(errors, name)]


# ---- commands -------------------------------------------------------------------------------------------------------


@to_msg.register
def _(record: CommandWindow) -> JointTrajectory:
    """A NaN never leaves: ros2_control's limiter would let it through."""
    _finite(ActionError, "command window", record.q, record.dq, record.times_s)
    points = [
        JointTrajectoryPoint(positions=_doubles(q), velocities=_doubles(dq), time_from_start=_duration(t))
        for q, dq, t in zip(record.q, record.dq, record.times_s, strict=True)
    ]
    return JointTrajectory(header=_header(record.stamp_ns), joint_names=fr3.JOINT_NAMES, points=points)


@from_msg.register
def _(message: JointTrajectory) -> CommandWindow:
    """`close_gripper` travels as gripper_command and is False here."""
    if tuple(message.joint_names) != fr3.JOINT_NAMES:
        raise ActionError(f"trajectory is for {', '.join(message.joint_names) or 'no joint'}, not for fr3_joint1..7")
    if not message.points or any(len(p.positions) != 7 or len(p.velocities) != 7 for p in message.points):
        raise ActionError("trajectory needs at least one point, each with 7 positions and 7 velocities")
    times_s = np.array([to_ns(p.time_from_start) / NS for p in message.points])
    q = np.array([p.positions for p in message.points])
    dq = np.array([p.velocities for p in message.points])
    _finite(ActionError, "trajectory", q, dq)
    return CommandWindow(stamp_of(message), times_s, q, dq, False)


def _duration(seconds: float) -> Duration:
    ns = round(float(seconds) * NS)
    return Duration(sec=ns // NS, nanosec=ns % NS)


def width_msg(stamp_ns: int, width_m: float) -> JointState:
    """The wanted full gripper width, m."""
    return JointState(header=_header(stamp_ns), name=["width"], position=array("d", [width_m]))


def width_from(message: JointState) -> float:
    if len(message.position) != 1:
        raise ActionError(f"gripper command has {len(message.position)} positions; it takes one, the full width in m")
    width_m = message.position[0]
    _finite(ActionError, "gripper command", width_m)
    return width_m


@to_msg.register
def _(record: TeleopCommand) -> Joy:
    """axes: velocity x y z as shares; buttons: clutch, close, keep, discard."""
    buttons = (record.clutch, record.close_gripper, record.keep, record.discard)
    return Joy(
        header=_header(record.stamp_ns), axes=_floats(record.velocity), buttons=array("i", [int(b) for b in buttons])
    )


@from_msg.register
def _(message: Joy) -> TeleopCommand:
    if len(message.axes) < 3 or len(message.buttons) < 4:
        raise ActionError(
            f"joy has {len(message.axes)} axes and {len(message.buttons)} buttons; at least 3 and 4 are needed"
        )
    velocity = np.array(message.axes[:3], float)
    _finite(ActionError, "joy", velocity)
    clutch, close, keep, discard = (bool(b) for b in message.buttons[:4])
    return TeleopCommand(stamp_of(message), velocity, close, clutch, keep, discard)
