from dataclasses import replace

import numpy as np
import pytest

from tmrl_ros.supervisor.watchdog import Backlog, Repeats, Watchdog
from tmrl_ros.types import RobotState

PERIOD_S, MS = 0.02, 1_000_000


def test_a_source_is_overdue_once_and_only_after_its_deadline():
    dog = Watchdog()
    dog.expect("action_chunk", now_s=10.0, within_s=0.15)
    assert dog.overdue(10.15) == []
    assert dog.overdue(10.16) == ["action_chunk"]
    assert dog.overdue(20.0) == []


def test_what_arrived_is_not_overdue_and_a_new_expectation_replaces_the_old():
    dog = Watchdog()
    dog.expect("joy", 0.0, 1.0)
    dog.arrived("joy")
    dog.expect("task_state", 0.0, 1.0)
    dog.expect("task_state", 0.9, 1.0)
    assert dog.overdue(1.5) == []


def taken(states) -> list[int]:
    """Stamps, ms, of the states that did not wait; each is (stamp ms, when it came s)."""
    backlog = Backlog(PERIOD_S)
    return [stamp for stamp, came_s in states if not backlog.waited(stamp * MS, came_s)]


def steady(first_ms: int, last_ms: int, late_s: float = 0.001) -> list[tuple[int, float]]:
    return [(stamp, 5.0 + stamp / 1e3 + late_s) for stamp in range(first_ms, last_ms, 20)]


@pytest.mark.parametrize("late_s", [0.001, 0.3, -7.0])  # robot's clock and ours are two
def test_every_state_that_comes_at_its_pace_is_taken(late_s):
    assert taken(steady(0, 1000, late_s)) == list(range(0, 1000, 20))


def test_of_a_backlog_only_the_newest_is_taken():
    stalled = [(stamp, 5.0 + 0.325 + stamp * 1e-6) for stamp in range(100, 340, 20)]  # all at once
    assert taken([*steady(0, 100), *stalled, *steady(340, 400)]) == [0, 20, 40, 60, 80, 320, 340, 360, 380]


def test_a_state_that_is_a_little_late_is_taken_and_one_that_is_later_than_the_next_would_be_is_not():
    for late_s, is_taken in ((0.014, True), (0.017, False)):
        states = [*steady(0, 100), (100, 5.101 + late_s), *steady(120, 200)]
        assert (100 in taken(states)) is is_taken and 120 in taken(states)


@pytest.mark.parametrize(
    ("stamp_s", "came_s", "waited"),
    [
        (1, 1.75, False),  # three quarters of a period later than the first
        (1, 1.8, True),
        (0, 0.5, False),
        (-1, 0.5, True),  # half a period after the first: too soon to be the next
        (-1, 0.6, False),  # another clock, and its states come as soon after each other as they should
        (-1, 1.4, False),
        (-1, 1.5, True),  # half a period more than a period: one is missing
    ],
)
def test_what_waited_is_later_than_the_last_one_and_did_not_come_a_period_after_it(stamp_s, came_s, waited):
    backlog = Backlog(period_s=1.0)
    assert not backlog.waited(0, 0.0)
    assert backlog.waited(stamp_s * 1000 * MS, came_s) is waited


@pytest.mark.parametrize("set_by_ms", [10_000, -10_000])
def test_after_a_clock_was_set_states_are_taken_from_the_second_on(set_by_ms):
    other = [(stamp + set_by_ms, came_s) for stamp, came_s in steady(100, 300)]
    assert taken([*steady(0, 100), *other])[-9:] == [stamp for stamp, _ in other][1:]


def test_a_simulation_that_falls_behind_for_good_costs_a_tick():
    slower = [(stamp, came_s + 0.05) for stamp, came_s in steady(100, 300)]
    assert taken([*steady(0, 100), *slower]) == [*range(0, 100, 20), *range(120, 300, 20)]


def often(first_ms: int, last_ms: int, late_s: float = 0.001) -> list[tuple[int, float]]:
    """As a driver does that says its state a thousand times a second."""
    return [(stamp, 5.0 + stamp / 1e3 + late_s) for stamp in range(first_ms, last_ms)]


@pytest.mark.parametrize("at_ms", range(100, 120, 3))
def test_a_clock_that_was_set_back_under_a_thousand_states_a_second_costs_half_a_period(at_ms):
    other = [(stamp - 10_000, came_s) for stamp, came_s in often(at_ms, 300)]
    again = taken([*often(0, at_ms), *other])[at_ms:]
    assert other[9][0] <= again[0] <= other[11][0] and again == list(range(again[0], -9700))


@pytest.mark.parametrize(
    ("stamp_s", "came_s", "waited"),
    [
        (-9.5, 0.625, False),  # half a period after the first of them, and as late
        (-9.5625, 0.5625, True),
        (-9.25, 0.625, False),  # a quarter of a period less late
        (-9.125, 0.625, True),
        (-9.75, 0.625, False),
        (-9.875, 0.625, True),  # more than a quarter later
    ],
)
def test_what_is_as_late_for_half_a_period_is_another_lag(stamp_s, came_s, waited):
    backlog = Backlog(period_s=1.0)
    for _ in range(1 if waited else 2):  # and again, after one that came in time
        assert not backlog.waited(0, 0.0)
        assert backlog.waited(-10_000 * MS, 0.125)
        assert backlog.waited(round(stamp_s * 1e9), came_s) is waited


def test_of_a_thousand_states_a_second_that_waited_only_the_newest_are_taken():
    behind = [(stamp, 5.4 + (stamp - 100) * 1e-5) for stamp in range(100, 400)]  # a hundred times as fast as they were
    late = [stamp for stamp, came_s in behind if came_s - 5 - stamp / 1e3 > 0.016]
    assert len(late) > 280 and not set(late) & set(taken([*often(0, 100), *behind, *often(405, 500)]))


def test_states_that_catch_up_slowly_wait_until_they_have():
    behind = [(stamp, 5.2 + stamp / 2e3) for stamp in range(100, 380)]  # twice as fast as they were
    first = taken([*often(0, 100), *behind])[100]
    assert 5.2 + first / 2e3 - 5 - first / 1e3 < 0.016 + 1e-9


def seen(ms: int, q=0.0, dq=0.0) -> RobotState:
    return RobotState(ms * MS, np.full(7, q), np.full(7, dq), 0.08, np.zeros(3))


def test_an_arm_that_is_told_to_move_and_measured_the_same_for_over_100_ms_is_frozen():
    repeats = Repeats()
    assert [ms for ms in range(0, 200, 20) if repeats.frozen(seen(ms), moves=True)] == [120, 140, 160, 180]


@pytest.mark.parametrize("changed", [{"q": 1e-12}, {"dq": 1e-12}])
def test_a_tremble_of_position_or_speed_is_a_sign_of_life(changed):
    repeats = Repeats()
    assert not any(repeats.frozen(seen(ms, **(changed if ms % 80 else {})), moves=True) for ms in range(0, 2000, 20))


def test_an_arm_that_shall_stand_may_be_measured_the_same_and_time_counts_from_its_command_to_move():
    repeats = Repeats()
    assert not any(repeats.frozen(seen(ms), moves=False) for ms in range(0, 2000, 20))
    assert [ms for ms in range(2000, 2200, 20) if repeats.frozen(seen(ms), moves=True)] == [
        2100,
        2120,
        2140,
        2160,
        2180,
    ]


@pytest.mark.parametrize(("ns", "frozen"), [(100_000_000, False), (100_000_001, True)])
def test_frozen_is_what_repeats_for_more_than_100_ms(ns, frozen):
    repeats, still = Repeats(), seen(0)
    assert not repeats.frozen(still, moves=True)
    assert repeats.frozen(replace(still, stamp_ns=ns), moves=True) is frozen
