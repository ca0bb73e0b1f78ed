"""Episodes: what the running one has done so far, when it ends and why, and the count of those that ended."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace

import numpy as np

from tmrl_ros.config import SupervisorConfig
from tmrl_ros.errors import TmrlError
from tmrl_ros.types import EMPTY, ActionChunk, Decision, EpisodeEvent, Mode, Modulation, TaskState, TeleopCommand

RECENT = 20  # episodes of the moving success rate
REMEMBERED = 200  # ended episodes that a person may still label


@dataclass
class Episode:
    """The running episode; `rows` are the executed actions since `stamp_ns`, the observation of the open decision.

    `source` is whose episode it is, `acting` who moves the arm: another where a person intervenes.
    """

    index: int
    source: Mode
    greedy: bool
    start_ns: int
    stamp_ns: int
    decision: int
    decisions: int = 0
    rows: list[np.ndarray] = field(default_factory=list)
    chunk: ActionChunk | None = None  # the answer to the open decision
    helped: bool = False  # a person moved the arm in an episode of the policy
    acting: Mode = field(init=False)

    def __post_init__(self):
        self.acting = self.source

    def close_decision(self, now_ns: int, outcome: str, robot_time_s: float) -> Decision:
        """The record of the open decision; the next one starts here. Reward -1 each, 0 for the one that succeeds."""
        success = outcome in ("success", "kept")
        done = Decision(
            stamp_ns=self.stamp_ns, next_stamp_ns=now_ns, episode=self.index, decision=self.decision,
            source=self.acting, actions=np.array(self.rows, np.float32),
            modulation=self.chunk.modulation if self.chunk else Modulation(EMPTY),
            actor_version=self.chunk.actor_version if self.chunk else 0,
            reward=0.0 if success else -1.0, terminated=success, truncated=bool(outcome) and not success,
            success=success, greedy=self.greedy, robot_time_s=robot_time_s,
        )  # fmt: skip
        self.decisions += 1
        self.rows, self.chunk, self.stamp_ns = [], None, now_ns
        return done

    def event(
        self, kind: str, now_ns: int, robot_time_s: float, success=False, counted=False, reason=""
    ) -> EpisodeEvent:
        decisions = self.decisions
        return EpisodeEvent(
            now_ns, self.index, kind, self.source, self.greedy, success, counted, decisions, reason, robot_time_s
        )


def outcome(task: TaskState, teleop: TeleopCommand | None, lasted_s: float, limit_s: float) -> str:
    """Why the episode ends at this observation, or empty: a person's verdict first, then the task, then time."""
    if teleop is not None and teleop.discard:
        return "discarded"
    if task.success:
        return "success"
    if teleop is not None and teleop.keep:
        return "kept"
    return "time" if lasted_s >= limit_s - 1e-6 else ""


def is_greedy(config: SupervisorConfig, episode: int) -> bool:
    """Whether the policy acts without exploring: always in evaluation, a share of the episodes in fine-tuning."""
    if config.mode != "finetune":
        return config.mode == "evaluate"
    draw = np.random.default_rng([config.seed, config.start_stream, episode, 2]).random()
    return bool(draw < config.greedy_share)


class Tally:
    """Ended episodes and their successes, as the events say, helped ones as failures; a later label corrects them."""

    def __init__(self):
        self.episodes = self.successes = 0
        self._recent: deque[tuple[int, bool]] = deque(maxlen=RECENT)
        self._ended: OrderedDict[int, EpisodeEvent] = OrderedDict()

    @property
    def recent_success(self) -> float:
        return sum(success for _, success in self._recent) / max(1, len(self._recent))

    def add(self, event: EpisodeEvent) -> None:
        self._ended[event.episode] = event
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        if event.judged:
            self.episodes += 1
            self.successes += event.achieved
            self._recent.append((event.episode, event.achieved))

    def label(self, episode: int, success: bool, collecting: bool) -> EpisodeEvent:
        """A person's verdict on an ended episode: the event that replaces its end."""
        if episode not in self._ended:
            known = f"{min(self._ended)} to {max(self._ended)}" if self._ended else "none yet"
            raise TmrlError(f"episode {episode} cannot be labelled; ended ones that can: {known}")
        old = self._ended[episode]
        new = replace(old, kind="labelled", success=success, counted=success if collecting else old.counted)
        self._ended[episode] = new
        self.episodes += new.judged - old.judged
        self.successes += new.achieved - old.achieved
        self._recent = deque(((e, new.achieved if e == episode else s) for e, s in self._recent), RECENT)
        return new
