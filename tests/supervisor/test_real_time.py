"""Where nothing is waited for: chunks come late, from frames with stamps of their own, and run once they are there."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import StandIn, chunk_for, config

from tmrl_ros.config import Timing
from tmrl_ros.errors import ActionError
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import Decision

TIMING = Timing(command_hz=50, lockstep=False)
TICK_NS, ROW_TICKS = 20_000_000, 5
ROWS = np.tile(np.array([0.2, 0, 0, -1], np.float32), (16, 1))


class Late(StandIn):
    """A policy that answers `delays` ticks after it was asked, from a frame that was `ages` ns old."""

    def __init__(self, core, delays, ages_ns):
        super().__init__(core)
        self.delays, self.ages_ns, self.policy, self.pending = delays, ages_ns, self._later, None
        self.frames, self.began = [], []

    def _later(self, request):
        number = request.decision % len(self.delays)
        chunk = chunk_for(request, ROWS, stamp_ns=request.stamp_ns - self.ages_ns[number])
        self.pending = [self.delays[number], chunk]

    def tick(self):
        if self.pending:
            self.pending[0] -= 1
            if self.pending[0] < 0:
                self.core.offer(self.pending[1])
                self.frames.append(self.pending[1].stamp_ns)
                self.began.append(self.stamp_ns)
                self.pending = None
        super().tick()


def late(delays, ages_ns, **values) -> Late:
    core = SupervisorCore(config(timing=TIMING, **values))
    core.start()
    return Late(core, delays, ages_ns)


delays_st = st.lists(st.integers(0, 4), min_size=1, max_size=6)


@settings(max_examples=25)
@given(delays_st, st.lists(st.integers(0, 110_000_000), min_size=6, max_size=6))
def test_decisions_name_the_frames_of_their_chunks_and_of_the_next(delays, ages_ns):
    session = late(delays, ages_ns, episodes=1, task={"episode_s": 4.0}).run()
    decisions = session.of(Decision)
    assert [d.stamp_ns for d in decisions] == session.frames and len(decisions) >= 4
    for before, after in itertools.pairwise(decisions):
        assert before.next_stamp_ns == after.stamp_ns and not before.truncated
    assert decisions[-1].truncated and decisions[-1].next_stamp_ns == session.ends()[0].stamp_ns
    assert all(len(d.actions) == 8 for d in decisions[:-1])


@settings(max_examples=25)
@given(delays_st)
def test_a_row_begins_as_soon_as_its_chunk_is_there_and_the_others_a_period_apart(delays):
    session = late(delays, [0] * 6, episodes=1, task={"episode_s": 4.0}).run()
    asked = [request.stamp_ns for request in session.requests]
    for begins, next_asked in zip(session.began, asked[1:], strict=False):
        assert next_asked - begins == 8 * ROW_TICKS * TICK_NS
    for requested, begins, number in zip(asked, session.began, range(100), strict=False):
        assert begins - requested == (1 + delays[number % len(delays)]) * TICK_NS


def test_a_hold_before_the_next_chunk_does_not_lose_the_decision_that_ran():
    session = late([0], [50_000_000], episodes=1, task={"episode_s": 4.0})
    session.run(until=lambda s: len(s.requests) == 2)
    assert not session.of(Decision)
    session.core.hold("somebody pressed it")
    session.records += session.core.drain()
    (decision,) = session.of(Decision)
    assert decision.stamp_ns == session.frames[0] and decision.next_stamp_ns == session.requests[1].stamp_ns
    assert session.ends()[0].reason == "somebody pressed it"


@pytest.mark.parametrize(("age_ns", "words"), [(210_000_000, "old"), (-60_000_000, "in the future")])
def test_a_chunk_from_a_frame_that_is_old_or_to_come_does_not_run(age_ns, words):
    session = late([0], [age_ns], episodes=1)
    session.run(until=lambda s: s.requests)
    with pytest.raises(ActionError, match=words):
        session.run(0.2)
    assert session.core.awaits_chunk
