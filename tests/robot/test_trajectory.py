"""A window is followed as joint_trajectory_controller would."""

import numpy as np
import pytest

from tmrl_ros.errors import ActionError
from tmrl_ros.robot.trajectory import check_clock, evaluate, hold
from tmrl_ros.types import CommandWindow


def window(times_s, q, dq):
    widen = np.ones((1, 7))
    return CommandWindow(0, np.array(times_s), np.array(q)[:, None] * widen, np.array(dq)[:, None] * widen, False)


def test_curve_passes_its_points_with_their_speeds():
    q, dq = evaluate(window([0, 0.05, 0.15], [0.1, 0.2, 0.0], [0.5, -1.0, 0.0]), np.array([0, 0.05, 0.15]))
    np.testing.assert_allclose(q[:, 3], [0.1, 0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(dq[:, 3], [0.5, -1.0, 0.0], atol=1e-12)


def test_curve_is_the_cubic_with_those_ends():
    # q(t) = t^3 - t has q(0) = 0, q(1) = 0, dq(0) = -1, dq(1) = 2.
    t = np.linspace(0, 1, 11)
    q, dq = evaluate(window([0, 1], [0, 0], [-1, 2]), t)
    np.testing.assert_allclose(q[:, 0], t**3 - t, atol=1e-12)
    np.testing.assert_allclose(dq[:, 0], 3 * t**2 - 1, atol=1e-12)


def test_last_point_holds_when_the_stream_dies():
    q, dq = evaluate(window([0, 0.1], [0.0, 0.3], [0, 0]), np.array([0.1001, 5.0, 3600.0]))
    np.testing.assert_array_equal(q, np.full((3, 7), 0.3))
    np.testing.assert_array_equal(dq, 0)


def test_first_point_holds_before_the_window_begins():
    q, dq = evaluate(window([0, 0.1], [0.2, 0.3], [1, 0]), np.array([-0.5]))
    np.testing.assert_array_equal(q, np.full((1, 7), 0.2))
    np.testing.assert_array_equal(dq, 0)


def test_single_point_stands():
    q, dq = evaluate(hold(0, np.arange(7)), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(q, [np.arange(7)] * 2)
    np.testing.assert_array_equal(dq, 0)


@pytest.mark.parametrize("ahead_s", [-1.01, 1.01, 10.0])
def test_a_window_that_another_clock_stamped_is_refused(ahead_s):
    check_clock(hold(5_900_000_000, np.zeros(7)), 5_000_000_000)
    with pytest.raises(ActionError, match="synchronise the clocks"):
        check_clock(hold(5_000_000_000 + round(ahead_s * 1e9), np.zeros(7)), 5_000_000_000)
