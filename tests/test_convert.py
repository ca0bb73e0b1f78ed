"""Every record survives the trip into a message, over the wire format and back; what is damaged is refused."""

import dataclasses
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("rclpy")
pytest.importorskip("tmrl_msgs")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState

from tmrl_ros import fr3
from tmrl_ros.errors import ActionError, DataError
from tmrl_ros.nodes import convert
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
    SessionState,
    SessionStatus,
    TaskState,
    TeleopCommand,
)

STAMP = st.integers(0, 2**31 * 10**9 - 1)
COUNT = st.integers(0, 2**32 - 1)
FLOAT32 = st.floats(-1e3, 1e3, width=32)
FLOAT64 = st.floats(-1e3, 1e3)
SECONDS = st.floats(0, 1e6)
WIDTH_M = st.floats(0, 0.08, allow_subnormal=False)  # the least number has no half, and two fingers share the width
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
MODE = st.sampled_from(Mode)


def vector(size, dtype=np.float32):
    return arrays(dtype, size, elements=FLOAT32 if dtype == np.float32 else FLOAT64)


COLUMNS = st.integers(1, 4)


def rows(dtype=np.float32, columns=COLUMNS):
    return st.tuples(st.integers(1, 6), columns).flatmap(lambda shape: vector(shape, dtype))


LENGTH = st.integers(0, 8)
MODULATION = st.builds(
    Modulation, LENGTH.flatmap(vector), st.floats(0, 1, width=32), LENGTH.flatmap(vector), LENGTH.flatmap(vector)
)
IMAGE = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))
CLOUD = st.none() | rows(columns=st.sampled_from([3, 6]))
OBSERVATION = st.builds(Observation, STAMP, LENGTH.flatmap(vector), st.dictionaries(TEXT, IMAGE, max_size=2), CLOUD)
DECISION = st.builds(
    Decision, STAMP, STAMP, COUNT, COUNT, MODE, rows(), MODULATION, st.integers(0, 2**64 - 1), FLOAT32,
    st.booleans(), st.booleans(), st.booleans(), st.booleans(), SECONDS,
)  # fmt: skip
EVENT = st.builds(
    EpisodeEvent, STAMP, COUNT, st.sampled_from(["started", "ended", "labelled"]), MODE, st.booleans(),
    st.booleans(), st.booleans(), COUNT, TEXT, SECONDS,
)  # fmt: skip
STATUS = st.builds(
    SessionStatus, STAMP, st.sampled_from(SessionState), MODE, TEXT, SECONDS, COUNT, COUNT, COUNT,
    st.floats(0, 1, width=32), COUNT, COUNT,
)  # fmt: skip
CHUNK = st.builds(
    ActionChunk, STAMP, COUNT, COUNT, st.floats(0.0078125, 1, width=32), rows(), MODULATION, st.integers(0, 2**64 - 1)
)
TELEOP = st.builds(TeleopCommand, STAMP, vector(3).map(np.float64), *[st.booleans()] * 4)
TASK = st.builds(TaskState, STAMP, st.booleans(), rows(np.float64, st.just(3)))
REQUEST = st.builds(DecisionRequest, STAMP, COUNT, COUNT, st.booleans())


@st.composite
def windows(draw):
    n = draw(st.integers(1, 6))
    times_ns = np.cumsum(draw(st.lists(st.integers(1, 10**8), min_size=n, max_size=n)))
    q, dq = draw(vector((n, 7), np.float64)), draw(vector((n, 7), np.float64))
    return CommandWindow(draw(STAMP), times_ns / 1e9, q, dq, False)


def assert_same(a, b):
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert a == b


def wire(message):
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize(
    "records",
    [OBSERVATION, MODULATION, REQUEST, CHUNK, DECISION, EVENT, STATUS, TASK, TELEOP, windows()],
    ids=["observation", "modulation", "request", "chunk", "decision", "event", "status", "task", "teleop", "window"],
)
def test_a_record_survives_the_wire(records):
    @settings(max_examples=40)
    @given(records)
    def survives(record):
        assert_same(convert.from_msg(wire(convert.to_msg(record))), record)

    survives()


@settings(max_examples=40)
@given(STAMP, vector(7, np.float64), vector(7, np.float64), WIDTH_M, vector(3, np.float64))
def test_robot_state_survives_its_three_messages(stamp_ns, q, dq, width_m, force_n):
    robot = RobotState(stamp_ns, q, dq, width_m, force_n)
    parts = (wire(make(robot)) for make in (convert.arm_msg, convert.fingers_msg, convert.wrench_msg))
    assert_same(convert.robot_state_from(*parts), robot)


def test_poses_objects_width_and_depth_survive():
    position, objects = np.array([0.4, 0.1, 0.3]), np.array([[0.5, 0.0, 0.02], [0.6, -0.1, 0.02]])
    assert_same(convert.position_of(wire(convert.pose_msg(5, position, (1, 0, 0, 0)))), position)
    assert_same(convert.objects_from(wire(convert.objects_msg(5, objects))), objects)
    assert convert.width_from(wire(convert.width_msg(5, 0.08))) == 0.08
    depth_mm = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert_same(convert.image_from(wire(convert.image_msg(5, "camera", depth_mm))), depth_mm)


def test_actor_update_carries_bytes_and_metrics():
    message = wire(convert.actor_update_msg(5, 3, "tmrl", bytes(range(256)), {"critic/loss": 0.5}))
    assert message.parameters.tobytes() == bytes(range(256))
    assert convert.metrics_of(message) == {"critic/loss": 0.5}
    assert (convert.stamp_of(message), message.version, message.method) == (5, 3, "tmrl")


def test_joint_states_are_read_by_name():
    names, values = list(reversed(fr3.JOINT_NAMES)), array("d", range(7))
    arm = JointState(name=names, position=values, velocity=values)
    fingers = convert.fingers_msg(RobotState(0, np.zeros(7), np.zeros(7), 0.08, np.zeros(3)))
    wrench = convert.wrench_msg(RobotState(0, np.zeros(7), np.zeros(7), 0.08, np.zeros(3)))
    assert convert.robot_state_from(arm, fingers, wrench).q.tolist() == [6, 5, 4, 3, 2, 1, 0]
    arm = JointState(name=names[:6], position=values[:6], velocity=values[:6])
    with pytest.raises(DataError, match="no fr3_joint1"):
        convert.robot_state_from(arm, fingers, wrench)


WINDOW = CommandWindow(0, np.zeros(1), np.zeros((1, 7)), np.zeros((1, 7)), False)


def test_a_nan_command_never_leaves():
    with pytest.raises(ActionError, match="NaN"):
        convert.to_msg(dataclasses.replace(WINDOW, q=np.full((1, 7), np.nan)))


def test_a_nan_or_misshapen_command_is_not_taken():
    message = convert.to_msg(WINDOW)
    message.points[0].positions[3] = float("inf")
    with pytest.raises(ActionError, match="infinity"):
        convert.from_msg(message)
    message.points[0].positions = array("d", [0.0] * 6)
    with pytest.raises(ActionError, match="7 positions"):
        convert.from_msg(message)
    message.joint_names = ["panda_joint1"]
    with pytest.raises(ActionError, match="panda_joint1"):
        convert.from_msg(message)


def test_a_nan_observation_and_a_short_chunk_are_refused():
    with pytest.raises(DataError, match="observation holds NaN"):
        convert.from_msg(convert.to_msg(Observation(0, np.array([np.nan], np.float32))))
    chunk = ActionChunk(0, 0, 0, 0.1, np.zeros((16, 4), np.float32), Modulation(np.zeros(4, np.float32)), 0)
    message = convert.to_msg(chunk)
    message.actions = message.actions[:-4]
    with pytest.raises(ActionError, match="60 values where 16 rows of 4 are 64"):
        convert.from_msg(message)


def test_an_unknown_mode_is_refused_by_name():
    message = convert.to_msg(EpisodeEvent(0, 0, "ended", Mode.POLICY, False, False, True, 3, "time", 12.0))
    message.source = 9
    with pytest.raises(DataError, match="9 is not a Mode; valid: 0 HOLD"):
        convert.from_msg(message)
