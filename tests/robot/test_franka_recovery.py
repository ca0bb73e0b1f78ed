"""A person gets a Franka out of a reflex, some times, and never out of a user stop."""

import re

import pytest

from tmrl_ros.config import RecoveryConfig
from tmrl_ros.errors import TmrlError
from tmrl_ros.robot.franka_recovery import Recovery, RobotMode, Step, fault_of

REFLEX = (RobotMode.REFLEX, ["cartesian_reflex"])


def reflexed(**values):
    recovery = Recovery(RecoveryConfig(**values))
    recovery.hear(*REFLEX)
    return recovery


def recovered(recovery, now_s):
    recovery.hear(*REFLEX)
    recovery.confirm(now_s, ready=True)
    recovery.answered("", now_s)
    recovery.driven("", now_s)
    recovery.hear(RobotMode.IDLE, [])
    assert recovery.succeeded and not recovery.step and not recovery.fault


@pytest.mark.parametrize("mode", [RobotMode.OTHER, RobotMode.IDLE, RobotMode.MOVE])
def test_a_robot_without_errors_is_well(mode):
    assert fault_of(mode, []) == ""


@pytest.mark.parametrize(
    ("mode", "errors", "sentence"),
    [
        (*REFLEX, r"in a reflex \(cartesian reflex\); look why, then call recover"),
        (4, ["joint_reflex", "joint_velocity_violation"], r"\(joint reflex, joint velocity violation\)"),
        (5, [], "user stop is pressed; release it"),
        (3, [], "guided by hand"),
        (6, ["cartesian_reflex"], r"recovers from an error \(cartesian reflex\)"),
        (1, ["communication_constraints_violation"], r"reports an error \(communication constraints violation\)"),
    ],
)
def test_a_fault_is_a_sentence_that_names_the_errors(mode, errors, sentence):
    assert re.search(sentence, fault_of(mode, errors))


def test_a_recovery_is_asked_for_answered_and_seen():
    recovery = reflexed()
    assert recovery.step == Step.NONE
    recovery.confirm(0, ready=True)
    assert recovery.step == Step.ACTION
    recovery.hear(RobotMode.RECOVERING, ["cartesian_reflex"])
    recovery.answered("", 1)
    assert recovery.step == Step.DRIVER
    recovery.driven("", 2)
    assert recovery.step == Step.CLEAR
    recovery.hear(RobotMode.IDLE, [])
    assert recovery.succeeded and "has recovered" in recovery.outcome


def test_an_answer_after_the_robot_was_seen_well_ends_it_at_once():
    recovery = reflexed()
    recovery.confirm(0, ready=True)
    recovery.hear(RobotMode.IDLE, [])
    assert recovery.step == Step.ACTION
    recovery.answered("", 1)
    recovery.driven("", 1)
    assert recovery.succeeded and not recovery.step


def test_a_silent_robot_may_be_recovered_and_has_to_be_heard_again():
    recovery = Recovery(RecoveryConfig())
    recovery.hear(RobotMode.MOVE, [])
    with pytest.raises(TmrlError, match="nothing to recover from"):
        recovery.confirm(0, ready=True)
    recovery.confirm(0, ready=True, silent=True)
    recovery.answered("", 1)
    recovery.driven("", 2)
    assert recovery.step == Step.CLEAR, "that it was well before it fell silent says nothing"
    recovery.hear(RobotMode.IDLE, [])
    assert recovery.succeeded and not recovery.step


def test_a_driver_that_stays_stopped_ends_the_recovery():
    recovery = reflexed()
    recovery.driven("", 0)
    assert recovery.step == Step.NONE, "nobody asked"
    recovery.confirm(0, ready=True)
    recovery.answered("", 1)
    recovery.driven("it stays inactive", 2)
    assert not recovery.succeeded and not recovery.step and "its driver did not: it stays inactive" in recovery.outcome


def test_a_robot_that_says_no_has_not_recovered():
    recovery = reflexed()
    recovery.confirm(0, ready=True)
    recovery.answered("aborted", 1)
    assert not recovery.succeeded and recovery.outcome == "the robot did not recover: aborted"


@pytest.mark.parametrize("answers", [False, True])
def test_every_step_has_its_time(answers):
    recovery = reflexed(step_s=2.0)
    recovery.confirm(0, ready=True)
    if answers:
        recovery.answered("", 1.5)
        recovery.watch(3.4)
        assert recovery.step
        recovery.watch(3.6)
    else:
        recovery.watch(1.9)
        assert recovery.step
        recovery.watch(2.1)
    assert not recovery.step and not recovery.succeeded and "over 2 s" in recovery.outcome
    recovery.answered("", 4)
    assert not recovery.succeeded, "an answer that comes too late changes nothing"


def test_there_are_two_recoveries_an_episode():
    recovery = reflexed()
    recovery.episode_began(7)
    for now_s in (0, 100):
        recovered(recovery, now_s)
    recovery.hear(*REFLEX)
    with pytest.raises(TmrlError, match="2 recoveries since the last episode began, at most 2"):
        recovery.confirm(200, ready=True)
    recovery.episode_began(7)
    with pytest.raises(TmrlError):
        recovery.confirm(200, ready=True)
    recovery.episode_began(8)
    recovery.confirm(200, ready=True)


def test_there_are_five_recoveries_an_hour():
    recovery = reflexed()
    for episode in range(5):
        recovery.episode_began(episode)
        recovered(recovery, 100.0 * episode)
    recovery.episode_began(5)
    recovery.hear(*REFLEX)
    with pytest.raises(TmrlError, match="5 recoveries within an hour, at most 5"):
        recovery.confirm(3599, ready=True)
    recovery.confirm(3600, ready=True)


def test_a_failed_recovery_counts_too():
    recovery = reflexed()
    for now_s in (0, 1):
        recovery.confirm(now_s, ready=True)
        recovery.answered("no", now_s)
    with pytest.raises(TmrlError, match="2 recoveries"):
        recovery.confirm(2, ready=True)


def test_a_user_stop_is_never_recovered_from():
    recovery = reflexed()
    recovery.hear(RobotMode.USER_STOPPED, ["cartesian_reflex"])
    with pytest.raises(TmrlError, match="user stop is pressed; release it by hand"):
        recovery.confirm(0, ready=True)


def test_a_user_stop_ends_a_recovery_and_the_next_one_is_asked_for_anew():
    recovery = reflexed()
    recovery.confirm(0, ready=True)
    recovery.hear(RobotMode.USER_STOPPED, [])
    assert not recovery.step and not recovery.succeeded and "user stop" in recovery.outcome
    recovery.answered("", 1)
    recovery.hear(*REFLEX)
    assert recovery.step == Step.NONE


def test_a_recovery_that_cannot_be_is_refused():
    recovery = Recovery(RecoveryConfig())
    with pytest.raises(TmrlError, match="never heard"):
        recovery.confirm(0, ready=True)
    recovery.hear(RobotMode.IDLE, [])
    with pytest.raises(TmrlError, match="the robot reports no error"):
        recovery.confirm(0, ready=True)
    recovery.hear(RobotMode.GUIDING, [])
    with pytest.raises(TmrlError, match="guided by hand"):
        recovery.confirm(0, ready=True)
    recovery.hear(*REFLEX)
    with pytest.raises(TmrlError, match="nobody serves"):
        recovery.confirm(0, ready=False)
    recovery.confirm(0, ready=True)
    with pytest.raises(TmrlError, match="under way"):
        recovery.confirm(0, ready=True)
