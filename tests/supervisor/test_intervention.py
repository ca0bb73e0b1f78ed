"""A person takes the device while the policy acts: the arm is theirs at once, and what both did is recorded apart."""

import itertools

import numpy as np
import pytest
from standin import StandIn, chunk_for, config, wish

from tmrl_ros.config import Timing
from tmrl_ros.data.assembler import assemble
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Observation

ROWS = np.tile(np.array([0.2, 0, 0, -1], np.float32), (16, 1))
LOCKSTEP, REAL = Timing(), Timing(command_hz=50, lockstep=False)


class Attended(StandIn):
    """A person who holds the clutch during `spells` of (begin, end), s of the session, and moves along y."""

    def __init__(self, core, spells, **flags):
        super().__init__(core, lambda request: chunk_for(request, ROWS))
        self.spells, self.flags, self.teleop = spells, flags, self._person

    @property
    def now_s(self) -> float:
        return (self.stamp_ns - 1_000_000_000) * 1e-9

    def _person(self, stamp_ns):
        holds = any(begin <= self.now_s < end for begin, end in self.spells)
        if holds:
            self.core.intervene()
        return wish(stamp_ns, (0, 0.5, 0), clutch=holds, **(self.flags if holds else {}))


def attended(timing, spells, flags=None, **values) -> Attended:
    core = SupervisorCore(config(timing=timing, **({"episodes": 1, "task": {"episode_s": 6.0}} | values)))
    core.start()
    return Attended(core, spells, **(flags or {}))


@pytest.fixture(scope="module", params=[LOCKSTEP, REAL], ids=["lockstep", "real"])
def taken(request):
    """A session whose person acts from 2.0 to 4.0 s."""
    session = attended(request.param, [(2.03, 4.0)])
    session.modes_at = {}
    while not session.ends():
        session.modes_at[session.now_s] = session.core.status().mode
        session.tick()
    return session


def test_every_change_of_hands_passes_through_hold(taken):
    changes = [mode for mode, _ in itertools.groupby(taken.modes)]
    assert changes[-6:] == [Mode.POLICY, Mode.HOLD, Mode.TELEOP, Mode.HOLD, Mode.POLICY, Mode.HOLD]
    assert all(Mode.HOLD in pair for pair in itertools.pairwise(changes))
    assert not taken.core.arbiter.latched and taken.core.holds == 0


def test_the_policy_stops_at_once_and_the_person_acts_within_the_time_of_a_stop(taken):
    held = min(s for s, mode in taken.modes_at.items() if mode == Mode.HOLD and s > 1.5)
    acts = min(s for s, mode in taken.modes_at.items() if mode == Mode.TELEOP)
    assert held <= 2.03 + 2 * taken.tick_ns * 1e-9 and acts - held <= 0.25


def test_both_are_recorded_apart_in_one_episode(taken):
    decisions = taken.of(Decision)
    assert [d.decision for d in decisions] == list(range(len(decisions)))
    assert {d.episode for d in decisions} == {0}
    sources = [source for source, _ in itertools.groupby(d.source for d in decisions)]
    assert sources == [Mode.POLICY, Mode.TELEOP, Mode.POLICY]
    for made in decisions:
        moved = np.abs(made.actions[:, :2]).sum(0)
        assert moved.argmax() == (1 if made.source == Mode.TELEOP else 0)
        assert (len(made.modulation.z) == 0) == (made.source == Mode.TELEOP)
    (last,) = [d for d in decisions if d.terminated or d.truncated]
    assert last is decisions[-1]


def test_every_decision_becomes_a_transition_and_the_persons_are_flagged(taken):
    """With frames at every tenth of a second, 30 ms old where time is real."""
    timing = taken.core.config.timing
    age_ns = 0 if timing.waits else 30_000_000
    frames = [Observation(k * 100_000_000 - age_ns, np.zeros(2, np.float32)) for k in range(1, 200)]
    decisions = taken.of(Decision)
    transitions, dropped = assemble([*frames, *decisions], timing)
    if timing.waits:
        assert not dropped and len(transitions) == len(decisions)
        assert [t.demo for t in transitions] == [d.source == Mode.TELEOP for d in decisions]


def test_an_episode_with_help_counts_as_a_failure_of_the_policy(taken):
    (end,) = taken.ends()
    assert not end.counted and end.helped and end.source == Mode.POLICY
    assert (taken.core.status().episodes, taken.core.status().successes) == (1, 0)


def test_a_person_who_takes_the_arm_and_gives_no_wish_holds_it():
    session = attended(LOCKSTEP, [(2.0, 9.0)])
    session.run(until=lambda s: s.core.arbiter.mode == Mode.TELEOP)
    session.teleop = lambda stamp_ns: None
    session.run(0.2)
    assert "teleoperation device is silent" in session.core.status().reason


@pytest.mark.parametrize(("flag", "success"), [("keep", True), ("discard", False)])
def test_the_devices_buttons_end_the_episode(flag, success):
    session = attended(LOCKSTEP, [(2.0, 9.0)], {flag: True})
    session.run(until=lambda s: s.ends())
    (end,) = session.ends()
    assert (end.success, end.counted) == (success, False) and end.reason in ("kept", "discarded")
    status = session.core.status()
    assert (status.episodes, status.successes, status.recent_success) == (int(success), 0, 0.0)


def test_a_label_makes_no_success_of_an_episode_with_help():
    session = attended(LOCKSTEP, [(2.0, 9.0)], {"keep": True})
    session.run(until=lambda s: s.ends())
    session.core.label(session.ends()[0].episode, True)
    status = session.core.status()
    assert (status.episodes, status.successes, status.recent_success) == (1, 0, 0.0)


def test_taking_the_device_between_episodes_changes_nothing():
    session = attended(LOCKSTEP, [(0.0, 0.4)])
    session.run()
    assert session.core.status().episodes == 1
    assert Mode.TELEOP not in session.modes and [e.kind for e in session.of(EpisodeEvent)] == ["started", "ended"]


HOLDING = np.tile(np.array([0.2, 0, 0, 1], np.float32), (16, 1))


@pytest.mark.parametrize("timing", [LOCKSTEP, REAL], ids=["lockstep", "real"])
@pytest.mark.parametrize("says", [False, True])
def test_a_hand_that_holds_something_keeps_it_when_the_arm_is_taken_until_the_device_says_otherwise(timing, says):
    session = attended(timing, [(2.0, 9.0)], {"close": says})
    session.policy = lambda request: chunk_for(request, HOLDING)
    session.run(until=lambda s: s.modes and s.modes[-1] == Mode.TELEOP)
    session.run(0.9)
    assert session.modes[-1] == Mode.TELEOP and session.width_m == 0
    session.flags = {"close": not says}
    session.run(0.3)
    assert (session.width_m == 0) == (not says)
    session.flags = {"close": says}
    session.run(0.9)
    assert (session.width_m == 0) == says


def test_the_press_that_takes_the_arm_is_a_wish_too():
    session = attended(REAL, [(2.0, 9.0)], {"close": False})
    session.policy = lambda request: chunk_for(request, HOLDING)
    person = session.teleop
    session.teleop = lambda ns: wish(ns, close=True, clutch=False) if session.now_s < 2 else person(ns)
    session.run(until=lambda s: s.modes and s.modes[-1] == Mode.TELEOP)
    session.run(0.3)
    assert session.width_m > 0
