"""Each inadmissible input is refused, and the sentence names it."""

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
        ({"actions": spoiled(-np.inf, 15, 3)}, "-inf in row 15, column 3"),
        ({"actions": np.zeros((16, 7), np.float32)}, r"shape \(16, 7\); the robot takes \(16, 4\)"),
        ({"actions": np.zeros((0, 4), np.float32)}, r"shape \(0, 4\)"),
        ({"dt_s": 0.05}, "dt = 0.05 s"),
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
        ({"episode": 3}, "episode 3; the running one is 4"),
    ],
)
def test_a_foreign_chunk_is_refused(changes, sentence):
    with pytest.raises(ActionError, match=sentence):
        gates.check_identity(chunk_for(REQUEST, **changes), REQUEST)


def test_a_chunk_nobody_asked_for_is_refused():
    with pytest.raises(ActionError, match="decision 17 came while none is awaited"):
        gates.check_identity(chunk_for(REQUEST), None)


@pytest.mark.parametrize(("age_s", "sentence"), [(0.25, "0.250 s old"), (-0.06, "0.060 s in the future")])
def test_stamps_are_refused_in_both_directions(age_s, sentence):
    chunk = chunk_for(REQUEST, stamp_ns=REQUEST.stamp_ns - round(age_s * 1e9))
    with pytest.raises(ActionError, match=sentence):
        gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, LOOSE, LIMITS)


def test_lockstep_takes_exactly_the_observation_that_was_asked_for():
    chunk = chunk_for(REQUEST, stamp_ns=REQUEST.stamp_ns - 50_000_000)
    gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, LOOSE, LIMITS)
    with pytest.raises(ActionError, match="the decision is for 5000000000 ns"):
        gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, TIMING, LIMITS)


def test_a_good_chunk_passes_every_gate():
    chunk = chunk_for(REQUEST)
    gates.check_identity(chunk, REQUEST)
    gates.check_stamp(chunk, REQUEST, REQUEST.stamp_ns, TIMING, LIMITS)
    gates.check_content(chunk, TIMING)


def robot(**changes):
    values = {"stamp_ns": 0, "q": fr3.HOME_Q, "dq": np.zeros(7), "width_m": 0.08, "force_n": np.zeros(3)}
    return RobotState(**(values | changes))


@pytest.mark.parametrize("force", [[0, 0, 31.0], [np.nan, 0, 0]])
def test_too_much_force_is_refused(force):
    with pytest.raises(ActionError, match="external force"):
        gates.check_contact(robot(force_n=np.array(force)), LIMITS)


def test_a_measured_breach_of_the_workspace_is_refused():
    limits = SafetyLimits(workspace_max_m=(0.75, 0.35, 0.25))
    with pytest.raises(ActionError, match="outside the workspace"):
        gates.check_contact(robot(), limits)
    gates.check_contact(robot(), LIMITS)


def test_an_arm_that_does_not_follow_is_named_by_joint():
    with pytest.raises(ActionError, match=r"fr3_joint4 is 0\.20 rad"):
        gates.check_following(robot(), fr3.HOME_Q + np.eye(7)[3] * 0.2)


def test_a_robot_state_with_nan_is_refused():
    with pytest.raises(ActionError, match="not finite"):
        gates.check_robot_numbers(robot(dq=np.full(7, np.nan)))


@pytest.mark.parametrize("velocity", [np.full(3, np.nan), np.zeros(2)])
def test_a_bad_teleoperation_velocity_is_refused(velocity):
    with pytest.raises(ActionError, match="velocity"):
        gates.check_teleop(TeleopCommand(0, velocity, False, True))


def test_a_missing_teleoperation_command_is_refused():
    with pytest.raises(ActionError, match="silent"):
        gates.check_teleop(None)
