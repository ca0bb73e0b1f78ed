"""The assembler: any interleaving gives the same transitions, what is missing is counted, no episode is crossed."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.config import Timing
from tmrl_ros.data.assembler import Assembler, demonstrations
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Modulation, Observation

PERIOD_NS = 100_000_000
HORIZON = 4
LOCKSTEP = Timing(execution_horizon=HORIZON)
REAL = Timing(execution_horizon=HORIZON, lockstep=False)


def observation(tick: int) -> Observation:
    return Observation(tick * PERIOD_NS, np.array([tick, -tick], np.float32))


def decision(number: int, tick: int, rows: int, episode: int, source=Mode.POLICY, ends=False) -> Decision:
    actions = np.full((rows, 3), tick, np.float32)
    return Decision(
        stamp_ns=tick * PERIOD_NS, next_stamp_ns=(tick + rows) * PERIOD_NS, episode=episode, decision=number,
        source=source, actions=actions, modulation=Modulation(np.zeros(3, np.float32), 0.2), actor_version=number,
        reward=0.0 if ends else -1.0, terminated=ends, truncated=False, success=ends, greedy=False, robot_time_s=0.0,
    )  # fmt: skip


def session(lengths: list[list[int]], gap: int = 3, source=Mode.POLICY):
    """Observations at every tick, decisions of `lengths[episode]` rows each, and `gap` ticks between episodes."""
    decisions, events, tick = [], [], 1
    for episode, rows_of in enumerate(lengths):
        for k, rows in enumerate(rows_of):
            decisions.append(decision(len(decisions), tick, rows, episode, source, ends=k == len(rows_of) - 1))
            tick += rows
        events.append(
            EpisodeEvent(tick * PERIOD_NS, episode, "ended", source, False, True, True, len(rows_of), "success", 0.0)
        )
        tick += gap
    return [observation(t) for t in range(1, tick + 1)], decisions, events


lengths_st = st.lists(st.lists(st.integers(1, HORIZON), min_size=1, max_size=4), min_size=1, max_size=4)


def merge(observations, decisions, picks):
    """One interleaving of the two streams, each in its own order."""
    streams = [list(observations), list(decisions)]
    for pick in picks:
        if streams[pick]:
            yield streams[pick].pop(0)
    yield from streams[0] + streams[1]


def run(records, timing=LOCKSTEP) -> tuple[list, Assembler]:
    assembler, out = Assembler(timing), []
    for record in records:
        out += assembler.observe(record) if isinstance(record, Observation) else assembler.decide(record)
    return out, assembler


@settings(max_examples=60)
@given(lengths_st, st.lists(st.integers(0, 1), max_size=80))
def test_every_interleaving_gives_the_same_transitions(lengths, picks):
    observations, decisions, _ = session(lengths)
    out, assembler = run(merge(observations, decisions, picks))
    assert [t.decision for t in out] == [d.decision for d in decisions]
    assert not assembler.dropped
    for transition, made in zip(out, decisions, strict=True):
        assert transition.observation.stamp_ns == made.stamp_ns
        assert transition.next_observation.stamp_ns == made.next_stamp_ns
        assert transition.executed == len(made.actions)
        np.testing.assert_array_equal(transition.actions[: transition.executed], made.actions)
        assert transition.actions.shape == (HORIZON, 3) and not transition.actions[transition.executed :].any()
        assert (transition.episode, transition.terminated) == (made.episode, made.terminated)


@settings(max_examples=60)
@given(lengths_st, st.lists(st.integers(0, 1), max_size=80), st.sets(st.integers(1, 40), max_size=8))
def test_missing_observations_are_counted_and_nothing_else_is_lost(lengths, picks, lost):
    observations, decisions, _ = session(lengths)
    lost_ns = {tick * PERIOD_NS for tick in lost if tick < len(observations)}  # the newest one always comes
    out, assembler = run(merge([o for o in observations if o.stamp_ns not in lost_ns], decisions, picks))
    whole = [d.decision for d in decisions if not {d.stamp_ns, d.next_stamp_ns} & lost_ns]
    assert [t.decision for t in out] == whole
    assert assembler.dropped["observation missing"] == len(decisions) - len(whole)


@settings(max_examples=40)
@given(lengths_st, st.integers(1, 8))
def test_no_transition_crosses_an_episode(lengths, stretch):
    """A decision whose end is claimed too late swallows its neighbours rather than joining another episode."""
    observations, decisions, _ = session(lengths, gap=1)
    long = dataclasses.replace(decisions[0], next_stamp_ns=decisions[0].next_stamp_ns + stretch * PERIOD_NS)
    out, assembler = run([*observations, long, *decisions[1:]])
    assert all(a.next_observation.stamp_ns <= b.observation.stamp_ns for a, b in itertools.pairwise(out))
    overlapping = sum(d.stamp_ns < long.next_stamp_ns for d in decisions[1:])
    assert assembler.dropped["overlaps the decision before"] == overlapping


def test_a_decision_waits_for_its_next_observation_and_is_counted_if_none_comes():
    assembler = Assembler(LOCKSTEP)
    assembler.observe(observation(1))
    assert assembler.decide(decision(0, 1, 4, 0)) == []
    assembler.close()
    assert assembler.dropped == {"no observation followed": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reward": float("nan")}, "reward not finite"),
        ({"actions": np.full((2, 3), np.inf)}, "actions of the wrong size or not finite"),
        ({"actions": np.zeros((0, 3))}, "actions of the wrong size or not finite"),
        ({"actions": np.zeros((HORIZON + 1, 3))}, "actions of the wrong size or not finite"),
        ({"next_stamp_ns": 0}, "stamps do not advance"),
    ],
)
def test_a_bad_decision_is_refused_with_its_reason(change, reason):
    _, assembler = run([dataclasses.replace(decision(0, 1, 2, 0), **change)])
    assert assembler.dropped == {reason: 1}


def test_repeated_messages_change_nothing():
    observations, decisions, _ = session([[4, 2], [3]])
    twice = [record for record in [*observations, *decisions] for _ in range(2)]
    out, assembler = run(twice)
    assert [t.decision for t in out] == [0, 1, 2]
    assert assembler.dropped["decision repeated or out of order"] == 3


def test_memory_is_bounded():
    assembler = Assembler(LOCKSTEP, capacity=10)
    for tick in range(1, 100):
        assembler.observe(observation(tick))
    for number in range(100):  # a restarted learner hears old decisions, and no observation of theirs
        assembler.decide(decision(number, 200 + 2 * number, 1, 0))
    assert len(assembler._observations) == 10 and len(assembler._pending) == 10
    assert assembler.dropped["no observation followed"] == 90


def test_demonstrations_hold_one_state_an_action_row_of_kept_episodes_only():
    observations, decisions, events = session([[4, 2], [4], [1, 1]], source=Mode.TELEOP)
    events[1] = dataclasses.replace(events[1], counted=False, reason="discarded")
    episodes, dropped = demonstrations([*observations, *decisions, *events], LOCKSTEP)
    assert [e.episode for e in episodes] == [0, 2] and not dropped
    np.testing.assert_array_equal(episodes[0].states[:, 0], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(episodes[0].actions[:, 0], [1, 1, 1, 1, 5, 5])


def test_a_demonstration_with_a_gap_is_left_out_and_counted():
    observations, decisions, events = session([[4, 2], [4]], source=Mode.TELEOP)
    del observations[1]  # the second row of the first decision
    episodes, dropped = demonstrations([*observations, *decisions, *events], LOCKSTEP)
    assert [e.episode for e in episodes] == [1]
    assert dropped["observation of a demonstration row missing"] == 1 and dropped["demonstration with a gap"] == 1


def test_policy_decisions_make_no_demonstration():
    observations, decisions, events = session([[4]])
    assert demonstrations([*observations, *decisions, *events], LOCKSTEP)[0] == []


def test_an_operator_label_overrules_the_end_of_the_episode():
    observations, decisions, events = session([[4]], source=Mode.TELEOP)
    label = dataclasses.replace(events[0], kind="labelled", counted=False)
    assert demonstrations([*observations, *decisions, *events, label], LOCKSTEP)[0] == []


late_st = st.lists(st.integers(1, 99), min_size=40, max_size=40)  # ms that each observation is older than its tick


def aged(observations, late_ms):
    """What cameras of their own clock saw: each observation a little before the tick that it is for."""
    moved = zip(observations, itertools.cycle(late_ms), strict=False)
    return [dataclasses.replace(o, stamp_ns=o.stamp_ns - late * 1_000_000) for o, late in moved]


@settings(max_examples=60)
@given(lengths_st, late_st, st.lists(st.integers(0, 1), max_size=80))
def test_on_a_robot_decisions_join_the_frames_they_were_made_from(lengths, late_ms, picks):
    """Stamps are as the supervisor writes them: of the chunk's frame, and at an episode's end of the tick."""
    observations, decisions, _ = session(lengths)
    frames = aged(observations, late_ms)
    seen_ns = {old.stamp_ns: new.stamp_ns for old, new in zip(observations, frames, strict=True)}
    stamped = [
        dataclasses.replace(
            made,
            stamp_ns=seen_ns[made.stamp_ns],
            next_stamp_ns=made.next_stamp_ns if made.terminated else seen_ns[made.next_stamp_ns],
        )
        for made in decisions
    ]
    out, assembler = run([*merge(frames, stamped, picks), observation(1000)], REAL)
    assert not assembler.dropped
    for transition, made in zip(out, decisions, strict=True):
        assert transition.observation.state[0] * PERIOD_NS == made.stamp_ns
        assert transition.next_observation.state[0] * PERIOD_NS == made.next_stamp_ns


@settings(max_examples=40)
@given(lengths_st, late_st)
def test_on_a_robot_a_demonstrations_row_has_the_newest_frame_before_it(lengths, late_ms):
    observations, decisions, events = session(lengths, source=Mode.TELEOP)
    records = [*aged(observations, late_ms), observation(1000), *decisions, *events]
    episodes, dropped = demonstrations(records, REAL)
    assert not dropped
    exact, _ = demonstrations([*observations, *decisions, *events], LOCKSTEP)
    for late, whole in zip(episodes, exact, strict=True):
        np.testing.assert_array_equal(late.states, whole.states)


def test_an_old_frame_is_not_taken_for_what_was_seen():
    seen = [observation(tick) for tick in (1, 2, 8)]
    made = decision(0, 2, 4, 0)
    out, assembler = run([*seen, made, observation(9)], REAL)
    assert not out and assembler.dropped == {"observation missing": 1}


def test_without_a_newer_frame_only_a_terminal_decision_counts():
    """Its next observation is looked at by nobody; to bootstrap from what was already seen would be wrong."""
    for ends in (True, False):
        out, assembler = run([observation(1), decision(0, 1, 1, 0, ends=ends), observation(9)], REAL)
        assert len(out) == ends and assembler.dropped["no newer observation at its end"] == (not ends)
