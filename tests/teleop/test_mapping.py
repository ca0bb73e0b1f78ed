"""Gamepads and SpaceMice: dead-band, scales, clutch and buttons; a silent device is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.config import SpacenavMap, TeleopConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.teleop.mapping import MappedDevice, velocity_share

deflections = st.floats(-1, 1)
STILL = (0.0,) * 6


@given(st.tuples(deflections, deflections, deflections), st.floats(0, 0.9))
def test_within_the_dead_band_is_rest_and_full_deflection_is_the_scale(axes, dead_band):
    mapping = SpacenavMap(axes=(0, 1, 2), dead_band=dead_band)
    share = velocity_share(axes, mapping)
    assert (np.abs(share) <= 1).all()
    for deflection, moved in zip(axes, share, strict=True):
        assert (abs(deflection) <= dead_band) == (moved == 0)
        assert moved * deflection >= 0
    np.testing.assert_allclose(velocity_share(np.negative(axes), mapping), -share)
    np.testing.assert_allclose(velocity_share((1, -1, 1), mapping), (1, -1, 1))


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_deflection_is_never_less_motion_and_there_is_no_jump(one, other):
    mapping = SpacenavMap(axes=(0, 0, 0), dead_band=0.2)
    low, high = (velocity_share((value,), mapping)[0] for value in sorted((one, other)))
    assert 0 <= high - low <= abs(one - other) / 0.8 + 1e-9


def test_axes_are_picked_and_turned():
    mapping = SpacenavMap(axes=(3, 0, 1), scales=(-1.0, 0.5, 3.0), dead_band=0.0)
    np.testing.assert_allclose(velocity_share((1.0, 0.5, 0.0, 0.25), mapping), (-0.25, 0.5, 1.0))


@pytest.mark.parametrize(
    ("axes", "sentence"), [((0.0, 0.0), "of a device with 2"), ((0.0, float("nan"), 0.0), "nan"), ((), "with 0")]
)
def test_a_device_that_does_not_fit_is_refused(axes, sentence):
    device = MappedDevice(SpacenavMap(axes=(0, 1, 2)), lost_s=0.5)
    with pytest.raises(ActionError, match=sentence):
        device.hear(axes, (), 0.0)
    assert device.command(1, 0.0) is None


def test_a_silent_device_is_lost_and_found_again():
    device = MappedDevice(TeleopConfig().spacenav, lost_s=0.5)
    assert device.command(1, 0.0) is None
    device.hear(STILL, (), 1.0)
    assert device.command(7, 1.5).stamp_ns == 7
    assert device.command(8, 1.51) is None
    device.hear(STILL, (), 3.0)
    assert device.command(9, 3.0) is not None


def buttons(*down, count=11):
    return [int(index in down) for index in range(count)]


def test_a_gamepads_clutch_is_held_and_its_grip_toggles():
    device = MappedDevice(TeleopConfig().gamepad, lost_s=0.5)
    a, lb = 0, 4
    seen = []
    for down in ((), (a,), (a,), (), (a, lb), (lb,)):
        device.hear((0.0, 1.0, 0.0, 0.0, 0.0, 0.0), buttons(*down), 0.0)
        wish = device.command(1, 0.0)
        seen.append((wish.close_gripper, wish.clutch))
    assert seen == [(False, False), (True, False), (True, False), (True, False), (False, True), (False, True)]
    np.testing.assert_allclose(wish.velocity, (1, 0, 0))


def taken(device, now_s):
    device.hear(STILL, (), now_s)
    return device.command(1, now_s).clutch


def test_without_a_clutch_moving_the_puck_takes_the_arm_and_rest_gives_it_back():
    device = MappedDevice(SpacenavMap(dead_band=0.1, release_s=0.5), lost_s=99)
    assert not taken(device, 0.0), "an untouched puck leaves the policy its arm"
    device.hear((0.1, -0.1, 0.05, 0.0, 0.0, 0.0), (), 1.0)
    assert not device.command(1, 1.0).clutch, "it trembles within the dead-band"
    device.hear((0.0, 0.0, -0.3, 0.0, 0.0, 0.0), (), 2.0)
    for now_s in (2.0, 4.0):  # held where it is, it may say nothing new
        assert device.command(1, now_s).clutch
    assert taken(device, 4.5) and not taken(device, 4.51)


def test_without_a_clutch_the_grip_button_takes_the_arm_and_keep_and_discard_do_not():
    device = MappedDevice(SpacenavMap(release_s=0.5, discard_button=2), lost_s=99)
    for button in (1, 2):
        device.hear(STILL, buttons(button), 0.0)
        assert not device.command(1, 0.0).clutch
    for down in ((0,), ()):  # pressed and let go between two observations
        device.hear(STILL, buttons(*down), 1.0)
    wish = device.command(1, 1.1)
    assert wish.clutch and wish.close_gripper
    assert not taken(device, 1.6)
    device.hear(STILL, buttons(0), 2.0)
    assert device.command(1, 9.0).clutch, "it is held down"


def said(device, times=4):
    """(keep, discard) of the next commands."""
    wishes = [device.command(1, 0.0) for _ in range(times)]
    return [(wish.keep, wish.discard) for wish in wishes]


def test_keep_and_discard_are_said_for_a_moment_once_a_press():
    device = MappedDevice(TeleopConfig().gamepad, lost_s=99)
    back, start = 6, 7
    for pressed, expected in ((start, (True, False)), (back, (False, True))):
        for _ in range(3):  # held down
            device.hear(STILL, buttons(pressed), 0.0)
        assert said(device) == [expected, expected, (False, False), (False, False)]
        device.hear(STILL, buttons(), 0.0)
        assert not any(map(any, said(device)))


@pytest.mark.parametrize(("held_s", "expected"), [(0.2, (True, False)), (1.2, (False, True))])
def test_with_two_buttons_a_long_press_discards(held_s, expected):
    device = MappedDevice(TeleopConfig().spacenav, lost_s=99)
    device.hear(STILL, (0, 1), 0.0)
    assert not any(map(any, said(device)))
    for now_s in (held_s / 2, held_s):
        device.hear(STILL, (), now_s)  # spacenav_node names a button only as it changes
    device.hear(STILL, (0, 0), held_s)
    assert said(device, 1) == [expected]


def test_the_hand_is_open_when_an_episode_has_ended():
    device = MappedDevice(TeleopConfig().spacenav, lost_s=99)
    device.hear(STILL, (1,), 0.0)
    assert device.command(1, 0.0).close_gripper
    device.presses.episode_ended()
    assert not device.command(1, 0.0).close_gripper
