"""Wanted widths become few goals, one after the other."""

import pytest

from tmrl_ros.config import HandConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.robot.franka_hand import Goal, HandGoals

OPEN, CLOSED = Goal(0.08, grasp=False), Goal(0.0, grasp=True)


def hand(**values):
    return HandGoals(HandConfig(**values))


def test_the_first_wish_and_each_change_is_a_goal_once():
    goals = hand()
    assert goals.step(0.0) is None
    goals.want(0.08)
    assert goals.step(0.0) == OPEN
    goals.ended()
    goals.want(0.08)
    assert goals.step(1.0) is None
    goals.want(0.0)
    assert goals.step(2.0) == CLOSED


def test_a_hand_narrower_than_before_grasps_and_a_wider_one_moves():
    goals = hand()
    goals.want(0.03)
    assert goals.step(0) == Goal(0.03, grasp=True)
    goals.ended()
    goals.want(0.05)
    assert goals.step(1) == Goal(0.05, grasp=False)


def test_half_a_second_lies_between_goals_and_the_newest_wish_wins():
    goals = hand()
    goals.want(0.0)
    assert goals.step(0.0) == CLOSED
    goals.ended()
    goals.want(0.08)
    assert goals.step(0.49) is None
    goals.want(0.04)
    assert goals.step(0.5) == Goal(0.04, grasp=True)


def test_a_pause_shorter_than_half_a_second_is_refused():
    with pytest.raises(ValueError, match="pause_s"):
        HandConfig(pause_s=0.4)


def test_a_wish_within_the_band_changes_nothing():
    goals = hand()
    goals.want(0.08)
    goals.step(0)
    goals.ended()
    for width_m in (0.0775, 0.076, 0.08):
        goals.want(width_m)
        assert goals.step(1) is None


def test_a_running_goal_is_waited_for_and_unwanted_once_the_wish_changes():
    goals = hand()
    goals.want(0.0)
    goals.step(0)
    assert not goals.unwanted
    goals.want(0.08)
    assert goals.unwanted and goals.step(1) is None
    goals.ended("cancelled")
    assert not goals.unwanted and goals.step(1) == OPEN


def test_a_goal_waits_until_somebody_takes_it():
    goals = hand()
    goals.want(0.0)
    assert goals.step(0, ready=False) is None
    assert goals.step(5, ready=True) == CLOSED


def test_a_failed_goal_is_said_and_not_tried_again():
    goals = hand()
    goals.want(0.0)
    goals.step(0)
    goals.ended("the hand is not homed")
    assert goals.problem == "the hand is not homed" and goals.step(10) is None
    goals.want(0.08)
    assert goals.step(11) == OPEN
    goals.ended()
    assert goals.problem == ""


def test_a_goal_without_an_end_has_failed_and_the_next_wish_goes_on():
    goals = hand(patience_s=2.0)
    goals.want(0.0)
    goals.step(0)
    goals.want(0.08)
    assert goals.step(2.0) is None
    assert goals.step(2.1) == OPEN and "did not end within 2 s" in goals.problem


def test_a_finger_takes_half_the_width_and_crisp_a_share():
    half = Goal(0.04, grasp=True)
    assert (half.finger_m, half.share, CLOSED.finger_m, CLOSED.share) == (0.02, 0.5, 0.0, 0.0)


def test_an_open_hand_stays_below_a_max_width_that_is_a_little_less_than_the_fingers_travel():
    assert 0.075 <= OPEN.reached_m < 0.0795 and OPEN.finger_m == OPEN.reached_m / 2
    assert OPEN.share == 1.0, "CRISP's share is of the hand's own width"


@pytest.mark.parametrize("width_m", [-0.01, 0.09, float("nan")])
def test_a_width_that_the_hand_has_not_is_refused(width_m):
    with pytest.raises(ActionError, match="the hand opens from 0 to"):
        hand().want(width_m)
