"""Frames are sure or unknown, and enough sure ones make a success."""

import pytest

from tmrl_ros.reward.verdict import Debounce, Verdict, verdicts

F, S, U = Verdict.FAILURE, Verdict.SUCCESS, Verdict.UNKNOWN
TICK_NS = 100_000_000


def said(marks, needed=4, frames=5, every_ns=TICK_NS):
    debounce = Debounce(needed, frames)
    return [debounce.add((k + 1) * every_ns, mark) for k, mark in enumerate(marks)]


def test_between_two_thresholds_nothing_is_known_and_what_is_no_number_neither():
    assert verdicts([0.0, 0.1, 0.11, 0.89, 0.9, 1.0, float("nan")], 0.9, 0.1).tolist() == [F, F, U, U, S, S, U]


def test_four_of_five_frames_make_a_success():
    assert said([S, S, S, S]) == [False, False, False, True]
    assert said([S, S, F, S, S])[-1]
    assert not any(said([S, F, S, F, S] * 3))


def test_unknown_frames_are_no_success():
    assert not any(said([U] * 20))
    assert not any(said([S, S, S, U, U, S, S, S]))


def test_a_gap_or_another_episode_begins_anew():
    debounce = Debounce(2, 3)
    assert not debounce.add(TICK_NS, S)
    assert not debounce.add(7 * TICK_NS, S)
    assert debounce.add(8 * TICK_NS, S)
    debounce.clear()
    assert not debounce.done and not debounce.add(9 * TICK_NS, S)


@pytest.mark.parametrize("stamp_ns", [TICK_NS, 0])
def test_a_frame_that_comes_twice_or_late_counts_once(stamp_ns):
    debounce = Debounce(2, 3)
    debounce.add(TICK_NS, S)
    assert not debounce.add(stamp_ns, S)
