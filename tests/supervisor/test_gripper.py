"""When the hand changes its mind, and when it counts as stuck."""

import pytest

from tmrl_ros.errors import ActionError
from tmrl_ros.supervisor.gripper import Gripper

S = 1_000_000_000


def test_only_a_clear_wish_closes_the_hand():
    gripper = Gripper()
    assert gripper.grip(0.1, 0) == -1
    assert gripper.grip(0.11, 0) == 1
    assert gripper.width_m == 0


def test_half_a_second_lies_between_two_changes():
    gripper = Gripper()
    gripper.grip(1, 0)
    assert gripper.grip(-1, S // 2 - 1) == 1
    assert gripper.grip(-1, S // 2) == -1


def closing(widths_m, every_s=0.1):
    """A hand that is told to close and is then measured at these widths."""
    gripper = Gripper()
    gripper.check(0.08, 0)
    gripper.grip(1, 0)
    for k, width_m in enumerate(widths_m):
        gripper.check(width_m, round(k * every_s * S))


def test_a_hand_that_closes_on_an_object_is_not_stuck():
    closing([0.08, 0.07, 0.05, *[0.045] * 60])


def test_a_hand_that_was_closed_already_is_not_stuck():
    closing([0.001] * 60)


def test_a_hand_that_stays_as_it_was_is_stuck_and_says_so_once():
    with pytest.raises(ActionError, match="80 mm wide for 2 s, wanted 0 mm"):
        closing([0.08] * 21)
    closing([0.08] * 20)
    gripper = Gripper()
    gripper.grip(1, 0)
    gripper.check(0.08, 0)
    with pytest.raises(ActionError):
        gripper.check(0.08, 2 * S)
    gripper.check(0.08, 3 * S)


def test_a_reset_between_two_closings_starts_the_watch_anew():
    gripper = Gripper()
    gripper.grip(1, 0)
    gripper.check(0.08, 0)
    gripper.open()
    gripper.grip(1, 3 * S)
    gripper.check(0.08, 3 * S)
