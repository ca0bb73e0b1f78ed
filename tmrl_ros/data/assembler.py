"""The one place where transitions are made: the learner, bag replay and simulation all feed it the same records.

Observations and decisions travel on separate topics, so either may come first. A decision is held until an observation
with a stamp of at least `next_stamp_ns` is there, then joined with what was seen at its stamps, or dropped with a
counted reason. What was seen at a stamp is the newest observation up to it: in lockstep of that stamp, elsewhere no
older than `timing.tolerance_ns`. Each stream is in order of its stamps (as reliable topics deliver it), so every
interleaving gives the same transitions.
"""

import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tmrl_ros.config import Timing
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Modulation, Observation


@dataclass(frozen=True, slots=True)
class Transition:
    """One decision with the observations around it; rows of `actions` from `executed` on are padding (zeros)."""

    observation: Observation
    next_observation: Observation
    modulation: Modulation
    actions: np.ndarray  # float32 [execution_horizon, action_dim]
    executed: int  # rows that ran
    reward: float
    terminated: bool  # the task ended it: no bootstrap from next_observation
    truncated: bool  # time or a person ended it: bootstrap
    success: bool
    episode: int
    decision: int
    actor_version: int
    greedy: bool
    demo: bool  # a person (or script) acted, not the policy
    robot_time_s: float = 0.0  # of the session, when the decision was over
    rows: tuple[Observation, ...] = ()  # what was seen when each row of a demo began, where that was asked for


@dataclass(frozen=True, slots=True)
class DemoEpisode:
    """One kept demonstration: what was seen at each row, and the actions that ran, float32 [rows, action_dim]."""

    episode: int
    seen: tuple[Observation, ...]
    actions: np.ndarray

    @property
    def states(self) -> np.ndarray:
        """float32 [rows, state_dim]"""
        return np.stack([observation.state for observation in self.seen]).astype(np.float32)


class Assembler:
    """Joins Observations and Decisions into Transitions, in the order of the decisions, within bounded memory."""

    def __init__(self, timing: Timing, capacity: int = 2048, rows: bool = False):
        self.execution_horizon, self._tolerance_ns = timing.execution_horizon, timing.tolerance_ns
        self._wants_rows = rows
        self.capacity = capacity  # observations and decisions held at most: 2048 are 200 s at 10 Hz
        self.dropped: Counter[str] = Counter()  # reason -> decisions (or observations) that made no transition
        self._observations: OrderedDict[int, Observation] = OrderedDict()
        self._pending: deque[Decision] = deque()
        self._newest_ns = -1
        self._last: Decision | None = None

    def observe(self, observation: Observation) -> list[Transition]:
        """Store one observation; returns the transitions it completes."""
        if observation.stamp_ns <= self._newest_ns:
            self.dropped["observation repeated or out of order"] += 1
            return []
        self._newest_ns = observation.stamp_ns
        self._observations[observation.stamp_ns] = observation
        if len(self._observations) > self.capacity:
            self._observations.popitem(last=False)
        return self._ready()

    def decide(self, decision: Decision) -> list[Transition]:
        """Hold one decision until its observations are there; returns the transitions that are ready."""
        reason = self._refusal(decision)
        if reason:
            self.dropped[reason] += 1
            return []
        self._last = decision
        self._pending.append(decision)
        if len(self._pending) > self.capacity:
            self._pending.popleft()
            self.dropped["no observation followed"] += 1
        return self._ready()

    def close(self) -> None:
        """The streams have ended: what still waits is dropped and counted."""
        self.dropped["no observation followed"] += len(self._pending)
        self._pending.clear()
        self.dropped += Counter()  # removes zero counts

    def _refusal(self, decision: Decision) -> str:
        rows = len(decision.actions)
        if not 1 <= rows <= self.execution_horizon or not np.isfinite(decision.actions).all():
            return "actions of the wrong size or not finite"
        if not np.isfinite(decision.reward):
            return "reward not finite"
        if decision.next_stamp_ns <= decision.stamp_ns:
            return "stamps do not advance"
        if self._last and decision.stamp_ns <= self._last.stamp_ns:
            return "decision repeated or out of order"
        # It would reach into its neighbour (or episode); where time is real its frame may be older than the hand-over.
        if self._last and decision.stamp_ns < self._last.next_stamp_ns - self._tolerance_ns:
            return "overlaps the decision before"
        return ""

    def _ready(self) -> list[Transition]:
        ready = []
        while self._pending and self._pending[0].next_stamp_ns <= self._newest_ns:
            decision = self._pending.popleft()
            try:
                ready.append(self._join(decision))
            except _Missing as missing:
                self.dropped[str(missing)] += 1
            self._forget_before(decision.next_stamp_ns - self._tolerance_ns)
        return ready

    def _join(self, decision: Decision) -> Transition:
        first, last = self._seen_at(decision.stamp_ns), self._seen_at(decision.next_stamp_ns)
        if first is None or last is None:
            raise _Missing("observation missing")
        if first is last and not decision.terminated:
            raise _Missing("no newer observation at its end")
        rows = len(decision.actions)
        demo = decision.source == Mode.TELEOP
        actions = np.zeros((self.execution_horizon, decision.actions.shape[1]), np.float32)
        actions[:rows] = decision.actions
        return Transition(
            observation=first, next_observation=last, actions=actions, executed=rows, demo=demo,
            modulation=decision.modulation, actor_version=decision.actor_version, greedy=decision.greedy,
            reward=decision.reward, terminated=decision.terminated, truncated=decision.truncated,
            success=decision.success, episode=decision.episode, decision=decision.decision,
            robot_time_s=decision.robot_time_s, rows=self._rows(decision) if demo and self._wants_rows else (),
        )  # fmt: skip

    def _seen_at(self, stamp_ns: int) -> Observation | None:
        """The newest observation up to a stamp, if it is not too old."""
        newest = next((o for o in reversed(self._observations.values()) if o.stamp_ns <= stamp_ns), None)
        return newest if newest and stamp_ns - newest.stamp_ns <= self._tolerance_ns else None

    def _rows(self, decision: Decision) -> tuple[Observation, ...]:
        """What was seen when each row began; they begin at equal distances."""
        rows, lasted_ns = len(decision.actions), decision.next_stamp_ns - decision.stamp_ns
        seen = [self._seen_at(decision.stamp_ns + row * lasted_ns // rows) for row in range(rows)]
        if None in seen:
            raise _Missing("observation of a demonstration row missing")
        return tuple(seen)

    def _forget_before(self, stamp_ns: int) -> None:
        while self._observations and next(iter(self._observations)) < stamp_ns:
            self._observations.popitem(last=False)


class _Missing(Exception):
    """A decision whose observations did not all come."""


def assemble(records: Iterable, timing: Timing) -> tuple[list[Transition], dict[str, int]]:
    """Transitions of a recording, and how many of its records made none, by reason."""
    assembler, transitions = Assembler(timing), []
    for record in records:
        if isinstance(record, Observation):
            transitions += assembler.observe(record)
        elif isinstance(record, Decision):
            transitions += assembler.decide(record)
    assembler.close()
    return transitions, dict(assembler.dropped)


def demonstrations(records: Iterable, timing: Timing) -> tuple[list[DemoEpisode], Counter[str]]:
    """Kept TELEOP episodes of a recording (Observation, Decision and EpisodeEvent, in its order), and what was dropped.

    An episode is kept if its last "ended" or "labelled" event counts it, and if its transitions join without a gap.
    """
    assembler = Assembler(timing, rows=True)
    joined: dict[int, list[Transition]] = {}
    final: dict[int, EpisodeEvent] = {}
    for record in records:
        ready = []
        if isinstance(record, Observation):
            ready = assembler.observe(record)
        elif isinstance(record, Decision):
            ready = assembler.decide(record)
        elif isinstance(record, EpisodeEvent) and record.kind in ("ended", "labelled"):
            final[record.episode] = record
        for transition in ready:
            if transition.demo:
                joined.setdefault(transition.episode, []).append(transition)
    assembler.close()
    kept = []
    for episode, event in sorted(final.items()):
        if not event.counted or event.source != Mode.TELEOP:
            continue
        parts = joined.get(episode, [])
        if len(parts) != event.decisions or not _continuous(parts):
            assembler.dropped["demonstration with a gap"] += 1
            continue
        actions = np.concatenate([part.actions[: part.executed] for part in parts])
        kept.append(DemoEpisode(episode, tuple(seen for part in parts for seen in part.rows), actions))
    return kept, assembler.dropped


def _continuous(parts: list[Transition]) -> bool:
    stamps = [(part.observation.stamp_ns, part.next_observation.stamp_ns) for part in parts]
    return bool(parts) and all(before[1] == after[0] for before, after in itertools.pairwise(stamps))
