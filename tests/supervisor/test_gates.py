"""Each inadmissible input is refused, and the sentence names it."""

from contextlib import nullcontext

import numpy as np
import pytest
from standin import chunk_for

from tmrl_ros import fr3
from tmrl_ros.config import SafetyLimits, Timing
from tmrl_ros.errors import ActionError
from tmrl_ros.supervisor import gates
from tmrl_ros.types import DecisionRequest, Modulation, RobotState, TeleopCommand

REQUEST = DecisionRequest(stamp_ns=5_000_000_000, episode=4, decision=17, greedy=False)
TIMING, LIMITS = Timing(), SafetyLimits()
LOOSE = Timing(lockstep=False)


def spoiled(value, row=2, column=1):
    rows = np.zeros((16, 4), np.float32)
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"actions": spoiled(np.nan)}, "nan in row 2, column 1"),
        ({"actions": spoiled(np.inf)}, "inf in row 2, column 1"),
        ({"actions": spoiled(np.nan) + spoiled(np.inf, 9)}, "nan in row 2, column 1"),
        ({"actions": spoiled(-np.inf, 15, 3)}, "-inf in row 15, column 3"),
        ({"actions": np.zeros((16, 7), np.float32)}, r"shape \(16, 7\); the robot takes \(16, 4\)"),
        ({"actions": np.zeros((0, 4), np.float32)}, r"shape \(0, 4\)"),
        ({"dt_s": 0.05}, r"dt = 0\.05 s; the robot runs rows of 0\.1 s$"),
        ({"dt_s": 0.2}, "dt = 0.2 s"),
        ({"dt_s": 0.10001}, "dt = 0.10001 s"),
        ({"dt_s": float("nan")}, "dt = nan s"),
        ({"modulation": Modulation(np.full(4, np.nan, np.float32))}, "modulation"),
        ({"modulation": Modulation(np.zeros(4, np.float32), float("inf"))}, "modulation"),
    ],
)
def test_content_that_cannot_run_is_refused(changes, sentence):
    with pytest.raises(ActionError, match=sentence):
        gates.check_content(chunk_for(REQUEST, **changes), TIMING)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decision": 16}, "decision 16, which was already answered or is old; awaited: 17"),
        ({"decision": 18}, "decision 18, which has not been asked for"),
        ({"decision": 400}, "decision 400, which has not been asked for"),
        ({"episode": 3}, "episode 3; the running one is 4"),
        ({"episode": 5}, "episode 5; the running one is 4"),
    ],
)
def test_a_foreign_chunk_is_refused(changes, sentence):
    with pytest.raises(ActionError, match=sentence):
        gates.check_identity(chunk_for(REQUEST, **changes), REQUEST)


def test_a_chunk_nobody_asked_for_is_refused():
    with pytest.raises(ActionError, match="decision 17 came while none is awaited"):
        gates.check_identity(chunk_for(REQUEST), None)


AGES = [
    (0.25, r"0\.250? s old; at most 0\.2 s"),
    (0.201, r"0\.201? s old"),
    (0.2, ""),
    (0.0, ""),
    (-0.05, ""),
    (-0.051, r"stamped 0\.051? s in the future"),
    (-0.06, r"stamped 0\.060? s in the future; at most 0\.05 s"),
]


def refused(sentence):
    return pytest.raises(ActionError, match=sentence) if sentence else nullcontext()


@pytest.mark.parametrize(("age_s", "sentence"), AGES)
def test_stamps_are_refused_in_both_directions_from_the_limit_on(age_s, sentence):
    chunk = chunk_for(REQUEST, stamp_ns=REQUEST.stamp_ns - round(age_s * 1e9))
    with refused(sentence):
        gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, LOOSE, LIMITS)


@pytest.mark.parametrize(("age_s", "sentence"), AGES)
def test_what_the_policy_saw_last_is_refused_in_both_directions_from_the_limit_on(age_s, sentence):
    now_ns = REQUEST.stamp_ns
    with refused(sentence.replace("0?", "?")):
        gates.check_sight(now_ns - round(age_s * 1e9), now_ns, LIMITS)


def test_nothing_is_old_before_a_policy_has_seen_anything():
    gates.check_sight(0, REQUEST.stamp_ns, LIMITS)
    with refused("the newest observation is 5.00 s old"):
        gates.check_sight(1, REQUEST.stamp_ns, LIMITS)


def test_lockstep_takes_exactly_the_observation_that_was_asked_for():
    chunk = chunk_for(REQUEST, stamp_ns=REQUEST.stamp_ns - 50_000_000)
    gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, LOOSE, LIMITS)
    for off_ns in (-50_000_000, 1):
        chunk = chunk_for(REQUEST, stamp_ns=REQUEST.stamp_ns + off_ns)
        with pytest.raises(ActionError, match="the decision is for 5000000000 ns"):
            gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, TIMING, LIMITS)


def test_a_good_chunk_passes_every_gate():
    chunk = chunk_for(REQUEST)
    gates.check_identity(chunk, REQUEST)
    gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, TIMING, LIMITS)
    gates.check_content(chunk, TIMING)
    gates.check_content(chunk_for(REQUEST, dt_s=0.1 + 1e-9), TIMING)


def robot(**changes):
    values = {"stamp_ns": 0, "q": fr3.HOME_Q, "dq": np.zeros(7), "width_m": 0.08, "force_n": np.zeros(3)}
    return RobotState(**(values | changes))


@pytest.mark.parametrize(
    ("force", "sentence"),
    [
        ([0, 0, 31.0], "external force of 31 N; at most 30 N"),
        ([-22.0, 22.0, 0], "external force of 31 N"),
        ([np.nan, 0, 0], "external force"),
        ([0, 30.0, 0], ""),
    ],
)
def test_too_much_force_is_refused(force, sentence):
    with refused(sentence):
        gates.check_force(robot(force_n=np.array(force)), LIMITS)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("beyond_m", "sentence"), [(0.021, r"outside the workspace, at \[.*\] m"), (0.019, "")])
def test_a_measured_breach_of_the_workspace_is_refused_from_2_cm_on(axis, side, beyond_m, sentence):
    low, high = LIMITS.workspace_min_m, LIMITS.workspace_max_m
    end = [*(low if side < 0 else high)]
    end[axis] = fr3.HOME_TCP[axis] - side * beyond_m
    limits = LIMITS.model_copy(update={"workspace_min_m" if side < 0 else "workspace_max_m": tuple(end)})
    with refused(sentence):
        gates.check_place(robot(), limits)


@pytest.mark.parametrize("side", [-1, 1])
def test_an_arm_that_does_not_follow_is_named_by_joint(side):
    with pytest.raises(ActionError, match=r"fr3_joint4 is 0\.16 rad from its command; at most 0\.15 rad"):
        gates.check_following(robot(), fr3.HOME_Q + side * np.eye(7)[3] * 0.16)
    gates.check_following(robot(), fr3.HOME_Q + side * np.eye(7)[3] * 0.149)


@pytest.mark.parametrize("bad", [{"q": np.full(7, np.nan)}, {"dq": np.full(7, np.inf)}, {"width_m": np.nan}])
def test_a_robot_state_with_nan_is_refused(bad):
    with pytest.raises(ActionError, match="not finite"):
        gates.check_robot_numbers(robot(**bad))
    gates.check_robot_numbers(robot())


@pytest.mark.parametrize("velocity", [np.full(3, np.nan), np.array([0, 0, np.inf]), np.zeros(2), np.zeros(4)])
def test_a_bad_teleoperation_velocity_is_refused(velocity):
    with pytest.raises(ActionError, match="three finite shares are valid"):
        gates.check_teleop(TeleopCommand(0, velocity, False, True))


def test_a_good_teleoperation_velocity_passes():
    gates.check_teleop(TeleopCommand(0, np.array([-1.0, 0.0, 1.0]), False, True))


def test_a_missing_teleoperation_command_is_refused():
    with pytest.raises(ActionError, match="silent"):
        gates.check_teleop(None)
