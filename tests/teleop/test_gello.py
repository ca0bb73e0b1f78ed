"""A GELLO: the arm goes the way of the hand since it was taken, no faster than it may and no longer than it should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import GelloMap
from tmrl_ros.errors import ActionError
from tmrl_ros.teleop.gello import GelloDevice

ROW_S, HEARD_S, STEP_M = 0.1, 0.04, 0.025
PEDAL = (1, 0, 0)


class Person:
    """Moves the device by given joints; the arm makes each row as it is asked to."""

    def __init__(self, **mapping):
        self.device = GelloDevice(GelloMap(**mapping), 0.5, ROW_S)
        self.q, self.now_s, self.arm_m = fr3.HOME_Q.copy(), 10.0, np.zeros(3)
        self.wishes = []

    @property
    def tcp_m(self):
        return kinematics.forward(self.q)[0]

    def move(self, turn, seconds, pedal=None):
        """`turn` [7] in rad, evenly in `seconds`."""
        count = round(seconds / 0.02)
        for k in range(count):
            self.q, self.now_s = self.q + np.asarray(turn) / count, self.now_s + 0.02
            if pedal is not None:
                self.device.hear_buttons(pedal, self.now_s)
            if k % 2 == 0:
                self.device.hear_joints(self.q, self.now_s)
            if k % 5 == 4:
                self.wishes.append(self.device.command(1, self.now_s))
                if self.wishes[-1] is not None:
                    self.arm_m += self.wishes[-1].velocity * STEP_M


LEFT = np.array([0.4, 0, 0, 0, 0, 0, 0])


def test_nothing_moves_the_arm_when_the_device_is_taken_and_it_goes_its_way_then():
    person = Person(clutch_button=0)
    person.move(LEFT, 1.0, (0, 0, 0))
    assert not person.arm_m.any() and not any(wish.clutch for wish in person.wishes)
    taken_m = person.tcp_m
    person.move(LEFT * 0, 0.2, PEDAL)
    assert not person.arm_m.any() and person.wishes[-1].clutch
    person.move(LEFT, 2.0, PEDAL)
    person.move(LEFT * 0, 0.5, PEDAL)
    np.testing.assert_allclose(person.arm_m, person.tcp_m - taken_m, atol=1e-9)
    person.move(-LEFT, 1.0, (0, 0, 0))
    still_m = person.arm_m.copy()
    person.move(-LEFT * 0, 0.5, PEDAL)
    np.testing.assert_array_equal(person.arm_m, still_m)


def test_without_a_pedal_moving_it_takes_the_arm_and_rest_lets_it_go():
    person = Person(release_s=0.6)
    person.move(LEFT * 0, 0.5)
    assert not any(wish.clutch for wish in person.wishes)
    begun_m = person.tcp_m
    person.move(LEFT, 2.0)
    assert person.wishes[-1].clutch
    np.testing.assert_allclose(person.arm_m, person.tcp_m - begun_m, atol=0.03)
    person.move(LEFT * 0, 1.0)
    assert not person.wishes[-1].clutch
    np.testing.assert_allclose(person.arm_m, person.tcp_m - begun_m, atol=0.02)  # of what took it, rest_m


def test_a_hand_that_is_too_fast_is_followed_for_a_moment_only():
    person = Person(clutch_button=0, lag_s=0.3, jump_m=1.0)
    person.move(LEFT * 0, 0.1, PEDAL)
    person.move(LEFT * 3, 0.2, PEDAL)  # half a metre
    moved = len(person.wishes)
    person.move(LEFT * 0, 1.0, PEDAL)
    assert np.abs([wish.velocity for wish in person.wishes]).max() <= 1.0
    assert not np.any([wish.velocity for wish in person.wishes[moved + 3 :]])
    assert np.linalg.norm(person.arm_m) < np.linalg.norm(person.tcp_m - kinematics.forward(fr3.HOME_Q)[0]) / 2


@given(st.lists(st.lists(st.floats(-1.5, 1.5), min_size=7, max_size=7), min_size=1, max_size=6))
def test_whatever_the_hand_does_the_wish_is_within_its_bounds_and_ends_soon_after_it(turns):
    person = Person(clutch_button=0, lag_s=0.3, jump_m=1.0)
    person.move(np.zeros(7), 0.1, PEDAL)
    for turn in turns:
        try:
            person.move(np.asarray(turn), 0.3, PEDAL)
        except ActionError:  # turned too far
            return
    person.wishes.clear()
    person.move(np.zeros(7), 0.6, PEDAL)
    assert not np.any([wish.velocity for wish in person.wishes[3:]])


def test_a_silent_device_is_lost_and_when_found_again_moves_nothing():
    person = Person(clutch_button=0)
    person.move(LEFT, 1.0, PEDAL)
    person.now_s += 0.6
    assert person.device.command(1, person.now_s) is None
    person.q, arm_m = person.q - 0.3 * LEFT, person.arm_m.copy()
    person.move(LEFT * 0, 0.5, PEDAL)
    np.testing.assert_array_equal(person.arm_m, arm_m)
    assert person.wishes[-1].clutch


def test_a_pedal_that_falls_silent_while_it_is_pressed_is_lost():
    person = Person(clutch_button=0)
    person.move(LEFT, 0.2, PEDAL)
    person.move(LEFT, 1.0)
    assert person.wishes[-1] is None


@pytest.mark.parametrize(
    ("q", "sentence"),
    [
        (np.zeros(6), "7 within a turn"),
        (np.full(7, np.nan), "7 within a turn"),
        (np.full(7, 40.0), "7 within a turn"),
        (fr3.HOME_Q + 2 * LEFT, "jumped by 0.3"),
    ],
)
def test_what_cannot_be_is_refused_and_the_device_is_lost(q, sentence):
    person = Person(clutch_button=0)
    person.move(LEFT * 0, 0.2, PEDAL)
    with pytest.raises(ActionError, match=sentence):
        person.device.hear_joints(q, person.now_s)
    person.device.hear_buttons(PEDAL, person.now_s + 0.6)
    assert person.device.command(1, person.now_s + 0.6) is None


def test_the_trigger_closes_the_hand_with_a_gap_between_and_pedals_keep_and_discard():
    device = Person().device
    seen = []
    for share in (1.0, 0.5, 0.4, 0.5, float("nan"), 0.6, 0.5):
        device.hear_trigger(share)
        seen.append(device.presses.close_gripper)
    assert seen == [False, False, True, True, True, False, False]
    device.hear_joints(fr3.HOME_Q, 0.0)
    for pedal, said in ((1, (True, False)), (2, (False, True))):
        device.hear_buttons([int(k == pedal) for k in range(3)], 0.0)
        wish = device.command(1, 0.0)
        assert (wish.keep, wish.discard) == said
