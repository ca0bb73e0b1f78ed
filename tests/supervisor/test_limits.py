"""The pure bounds of a motion, one by one, at and around their edges."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tmrl_ros import fr3
from tmrl_ros.config import SafetyLimits
from tmrl_ros.supervisor import limits as bound

LIMITS = SafetyLimits()
SMALL = st.floats(-3, 3)
VECTOR = st.lists(SMALL, min_size=3, max_size=3).map(np.array)


# ---- braking ----


@pytest.mark.parametrize(
    ("share", "ticks"), [(0.0, 0), (1e-12, 0), (0.2, 1), (1.0, 1), (1 + 1e-12, 1), (1.1, 2), (2, 2), (2.5, 3)]
)
def test_brake_ticks_round_up_but_for_rounding_errors(share, ticks):
    assert bound.brake_ticks(share) == ticks
    assert isinstance(bound.brake_ticks(share), int)


def stopping_distance(speed_along, speed, acceleration, dt):
    """What the docstring says: one tick from one speed to the other, then even braking."""
    return (speed_along + speed) * dt / 2 + bound.brake_ticks(speed / (acceleration * dt)) * speed * dt / 2


@given(st.floats(0, 2), st.floats(0, 0.3), st.floats(0.5, 5), st.sampled_from([0.02, 0.05]))
def test_from_the_approach_speed_the_arm_stops_within_the_distance(distance, along, acceleration, dt):
    speed = bound.approach_speed(distance, along, acceleration, dt)
    assert speed >= 0
    if along * dt / 2 <= distance:
        assert stopping_distance(along, speed, acceleration, dt) <= distance * (1 + 1e-6) + 1e-9
        assert stopping_distance(along, speed * 1.001 + 1e-6, acceleration, dt) > distance - 1e-9


def test_the_approach_speed_is_that_of_the_equation():
    # room = 2 * 0.03 / 0.05 - 0.2 = 1; n is the least with n (n + 1) a dt >= 1: 4 * 5 * 0.05 = 1
    assert bound.approach_speed(0.03, 0.2, 1.0, 0.05) == pytest.approx(1 / 5)
    # room = 1.05: from 1.05 / 6 five ticks of braking, from 0.2 but four
    assert bound.approach_speed(0.03125, 0.2, 1.0, 0.05) == pytest.approx(0.2)
    assert bound.approach_speed(0.0, 0.2, 1.0, 0.05) == 0


# ---- actions and goals ----


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=5), st.sampled_from([0.05, 0.1]))
def test_a_row_keeps_its_direction_within_a_step_and_the_speed(action, dt_s):
    moved = bound.row_displacement(action, LIMITS, dt_s)
    wanted = np.clip(action[:3], -1, 1) * LIMITS.step_m
    assert np.linalg.norm(moved) <= LIMITS.tcp_speed_m_s * dt_s * (1 + 1e-9)
    if np.linalg.norm(wanted) <= LIMITS.tcp_speed_m_s * dt_s:
        np.testing.assert_allclose(moved, wanted, rtol=1e-9, atol=1e-15)
    else:
        assert np.linalg.norm(moved) == pytest.approx(LIMITS.tcp_speed_m_s * dt_s)
        np.testing.assert_allclose(np.cross(moved, wanted), 0, atol=1e-12)
        assert moved @ wanted > 0


def test_a_row_is_shares_of_a_step():
    np.testing.assert_allclose(bound.row_displacement([0.5, -2.0, 0.0], LIMITS, 1.0), [0.0125, -0.025, 0])
    np.testing.assert_array_equal(bound.row_displacement([0, 0, 0, 1], LIMITS, 0.1), 0)


def test_a_goal_is_held_in_the_box_and_near_the_hand():
    low, high = np.array([0.0, 0, 0]), np.array([1.0, 1, 1])
    tcp = np.array([0.5, 0.98, 0.5])
    np.testing.assert_allclose(bound.clamp_goal([0.52, 1.5, 0.5], tcp, low, high, 0.05), [0.52, 1, 0.5])
    np.testing.assert_allclose(bound.clamp_goal([0.9, 0.5, 0.1], tcp, low, high, 0.05), [0.55, 0.93, 0.45])
    np.testing.assert_allclose(
        bound.clamp_goal([0.5, 0.9, 0.5], np.array([1.2, 0.9, -0.3]), low, high, 0.05), [1, 0.9, 0]
    )


# ---- joint speeds ----


def test_in_the_middle_a_joint_may_move_at_its_share_of_the_table():
    low, high = bound.joint_speed_bounds((fr3.Q_MIN + fr3.Q_MAX) / 2, 0.5)
    np.testing.assert_allclose(high, 0.5 * fr3.RECTANGULAR_DQ_MAX)
    np.testing.assert_allclose(low, -0.5 * fr3.RECTANGULAR_DQ_MAX)


@pytest.mark.parametrize("left_rad", [0.2, 0.1, 0.06, 0.0, -0.1])
def test_near_its_end_a_joint_slows_as_the_datasheet_says(left_rad):
    slowed = np.maximum(0, -fr3.SPEED_OFFSET + np.sqrt(2 * fr3.DECELERATION * max(left_rad, 0)))
    slowed = np.minimum(slowed, fr3.RECTANGULAR_DQ_MAX)
    low, high = bound.joint_speed_bounds(fr3.Q_MAX - left_rad, 1.0)
    np.testing.assert_allclose(high, slowed)
    np.testing.assert_allclose(low, -fr3.RECTANGULAR_DQ_MAX)
    low, high = bound.joint_speed_bounds(fr3.Q_MIN + left_rad, 1.0)
    np.testing.assert_allclose(low, -slowed)
    np.testing.assert_allclose(high, fr3.RECTANGULAR_DQ_MAX)


# ---- shares ----


@pytest.mark.parametrize(
    ("start", "step", "share"),
    [
        ([0.0, 0.0], [0.5, -0.5], 1.0),
        ([0.0, 0.0], [2.0, 0.0], 0.5),
        ([0.0, 0.0], [0.0, -4.0], 0.25),
        ([0.5, 0.0], [1.0, -4.0], 0.25),
        ([0.5, 0.0], [2.0, -1.0], 0.25),
        ([1.0, 0.0], [1.0, 0.0], 0.0),
        ([1.0, 0.0], [-1.0, 0.0], 1.0),
        ([1.1, 0.0], [1.0, 0.0], 0.0),
        ([1.0, 0.0], [1e-10, 0.0], 1.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
    ],
)
def test_the_share_of_a_step_that_stays_in_the_box(start, step, share):
    low, high = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    found = bound.share_within(np.array(start), np.array(step), low, high)
    assert found == pytest.approx(share)
    assert isinstance(found, float)


@given(VECTOR, VECTOR, st.floats(0.1, 2))
@example(np.array([1.0, 0, 0]), np.array([-3.0, 0, 0]), 1.0)
@example(np.array([0.5, 0, 0]), np.array([0.5 + 1e-12, 0, 0]), 1.0)
def test_the_share_of_a_step_that_stays_in_the_ball_is_the_largest(start, step, radius):
    share = bound.share_in_ball(start, step, radius)
    reach = max(radius, np.linalg.norm(start))
    assert 0 <= share <= 1
    assert np.linalg.norm(start + share * step) <= reach * (1 + 1e-6) + 1e-7
    assume(np.linalg.norm(step) > 1e-3)
    if share < 1 - 1e-6:
        assert np.linalg.norm(start + (share + 1e-3) * step) > reach - 1e-6


@pytest.mark.parametrize(
    ("start", "step", "radius", "share"),
    [
        ([0.0, 0, 0], [2.0, 0, 0], 1.0, 0.5),
        ([0.5, 0, 0], [1.0, 0, 0], 1.0, 0.5),
        ([0.5, 0, 0], [-3.0, 0, 0], 1.0, 0.5),
        ([0.6, 0, 0], [0.0, 1.6, 0], 1.0, 0.5),
        ([2.0, 0, 0], [1.0, 0, 0], 1.0, 0.0),
        ([2.0, 0, 0], [-8.0, 0, 0], 1.0, 0.5),
        ([2.0, 0, 0], [1e-10, 0, 0], 1.0, 1.0),
        ([0.0, 0, 0], [0.0, 0.4, 0], 1.0, 1.0),
    ],
)
def test_the_share_of_a_step_that_stays_in_the_ball(start, step, radius, share):
    assert bound.share_in_ball(np.array(start), np.array(step), radius) == pytest.approx(share)


# ---- ends and singularities ----


def one_joint_a_direction(*weights):
    """Joints per m of an arm whose joint i moves with the direction that weights[i] names."""
    return np.array([*weights, *np.zeros((7 - len(weights), 3))], float)


MIDDLE = (fr3.RECTANGULAR_Q_MIN + fr3.RECTANGULAR_Q_MAX) / 2


def test_away_from_the_ends_nothing_is_taken_off():
    velocity = np.array([0.1, -0.2, 0.05])
    np.testing.assert_array_equal(bound.slide_along_ends(velocity, one_joint_a_direction([3, 0, 0]), MIDDLE), velocity)


@pytest.mark.parametrize("sign", [1, -1])
def test_at_an_end_the_part_that_presses_is_taken_off(sign):
    q = MIDDLE.copy()
    q[0] = (fr3.RECTANGULAR_Q_MAX if sign > 0 else fr3.RECTANGULAR_Q_MIN)[0]
    joints = one_joint_a_direction([3, 0, 0])
    np.testing.assert_allclose(
        bound.slide_along_ends(np.array([sign * 0.1, 0.2, 0]), joints, q), [0, 0.2, 0], atol=1e-15
    )
    np.testing.assert_allclose(
        bound.slide_along_ends(np.array([sign * -0.1, 0.2, 0]), joints, q), [sign * -0.1, 0.2, 0]
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_near_an_end_a_joint_slows_with_the_distance_left(sign):
    q = MIDDLE.copy()
    q[0] = (fr3.RECTANGULAR_Q_MAX if sign > 0 else fr3.RECTANGULAR_Q_MIN)[0] - sign * 0.01
    slid = bound.slide_along_ends(np.array([sign * 0.1, 0.2, 0]), one_joint_a_direction([3, 0, 0]), q)
    np.testing.assert_allclose(slid, [sign * bound.END_PER_S * 0.01 / 3, 0.2, 0])


def test_two_joints_at_their_ends_are_slid_along_both_and_a_third_is_not():
    q = MIDDLE.copy()
    q[:3] = fr3.RECTANGULAR_Q_MAX[:3]
    joints = one_joint_a_direction([3, 0, 0], [0, 2, 0], [0, 0, 1])
    np.testing.assert_allclose(bound.slide_along_ends(np.array([0.1, 0.1, 0.1]), joints, q), [0, 0, 0.1], atol=1e-15)


def test_an_oblique_end_leaves_the_motion_along_it():
    q = MIDDLE.copy()
    q[0] = fr3.RECTANGULAR_Q_MAX[0]
    slid = bound.slide_along_ends(np.array([0.2, 0, 0]), one_joint_a_direction([1, 1, 0]), q)
    np.testing.assert_allclose(slid, [0.1, -0.1, 0], atol=1e-15)


@pytest.mark.parametrize(("condition", "share"), [(1, 1), (17, 1), (23.5, 0.5), (27.4, 0.2), (30, 0), (1e9, 0)])
def test_speed_falls_to_nothing_towards_a_singularity(condition, share):
    assert bound.singularity_share(condition) == pytest.approx(share)


def test_the_constants_that_safety_rests_on():
    assert (bound.BRAKE_S, bound.WORKSPACE_MARGIN_M, bound.END_PER_S) == (0.08, 0.001, 6.0)
    assert (bound.CONDITION_SLOW, bound.CONDITION_STOP, bound.EPS) == (17.0, 30.0, 1e-9)
