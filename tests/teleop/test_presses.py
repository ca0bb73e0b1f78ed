"""What presses come to: the hand goes on as the policy had it, and one press changes it."""

import pytest

from tmrl_ros.teleop.presses import Presses


@pytest.mark.parametrize("closed", [True, False])
def test_one_press_changes_the_hand_as_the_policy_had_it(closed):
    presses = Presses()
    presses.follow(closed)
    assert presses.take()["close_gripper"] is closed
    presses.grip()
    assert presses.take()["close_gripper"] is not closed


def test_a_press_that_no_command_has_carried_is_not_undone_by_the_policy():
    presses = Presses()
    presses.follow(True)
    presses.grip()
    presses.follow(True)
    assert not presses.take()["close_gripper"]
    presses.follow(True)
    assert presses.take()["close_gripper"]
