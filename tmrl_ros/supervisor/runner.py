"""Runs episodes row by row: asks for decisions, executes their rows, and records what came of them.

A decision's record names the observation that its chunk was made from, and that of the next chunk. In lockstep both
are of the ticks at which they were asked for. Where time is real they are older, so the record waits for the next
chunk; the last of an episode names the time at which it ended.
"""

from dataclasses import replace

import numpy as np

from tmrl_ros.config import SupervisorConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.supervisor import gates
from tmrl_ros.supervisor.episode import Episode, Tally, is_greedy, outcome
from tmrl_ros.supervisor.gripper import Gripper
from tmrl_ros.supervisor.limits import row_displacement
from tmrl_ros.supervisor.motion import Motion
from tmrl_ros.types import ActionChunk, Decision, DecisionRequest, EpisodeEvent, Mode, TaskState, TeleopCommand


class EpisodeRunner:
    """One episode at a time; `episode` is None between them, `request` is the decision that is still unanswered."""

    def __init__(self, config: SupervisorConfig, motion: Motion, gripper: Gripper):
        self.config, self.motion, self.gripper = config, motion, gripper
        self.source = Mode.TELEOP if config.mode == "collect" else Mode.POLICY
        self.tally = Tally()
        self.episode: Episode | None = None
        self.request: DecisionRequest | None = None
        self.records: list[Decision | EpisodeEvent] = []
        self.decisions = self.next_episode = 0
        self._rested: bool | None = None  # what a device said of the hand while nobody held it
        self._keeps = False  # the hand as it was when the device was taken, until the device says otherwise
        self._row: np.ndarray | None = None  # due at this observation, [dx, dy, dz, grip] in action units
        self._huge = 0  # rows in a row
        self._waiting: Decision | None = None  # for the observation after it
        timing = config.timing
        self._row_s, self._row_ticks = 1 / timing.action_hz, timing.command_hz // timing.action_hz

    def begin(self, now_ns: int, robot_time_s: float) -> None:
        greedy = is_greedy(self.config, self.next_episode)
        self._keeps = False
        self.episode = Episode(self.next_episode, self.source, greedy, now_ns, now_ns, self.decisions)
        self.next_episode += 1
        self.records.append(self.episode.event("started", now_ns, robot_time_s))

    def observe(self, now_ns: int, task: TaskState, teleop: TeleopCommand | None, robot_time_s: float, over: bool):
        """One observation of the episode; `over` cuts it. Returns a DecisionRequest where a chunk is due, else None.

        `teleop` moves the arm where a person acts; everywhere it may end the episode.
        """
        episode = self.episode
        if teleop and (self._rested is None or not teleop.clutch):
            self._rested = teleop.close_gripper
        if episode.rows:
            why = outcome(task, teleop, (now_ns - episode.start_ns) * 1e-9, self.config.task.episode_s)
            why = why or ("session" if over else "")
            if why or len(episode.rows) == self.config.timing.execution_horizon:
                self._close_decision(now_ns, why, robot_time_s)
            if why:
                return self.finish(why, now_ns, robot_time_s)
        if episode.acting == Mode.TELEOP:
            self._row = self._teleop_row(teleop)
            if not episode.rows:
                episode.stamp_ns = now_ns
            return None
        if episode.chunk is None and self.request is None:
            self.request = DecisionRequest(now_ns, episode.index, episode.decision, episode.greedy)
            return self.request
        self._row = None if episode.chunk is None else episode.chunk.actions[len(episode.rows)]
        return None

    def accept(self, chunk: ActionChunk) -> None:
        """The answer to `request`, already checked."""
        self.request, self.episode.chunk, self._row = None, chunk, chunk.actions[0]
        self.episode.stamp_ns = chunk.stamp_ns
        self._settle(chunk.stamp_ns)

    def hand_over(self, mode: Mode, now_ns: int, robot_time_s: float) -> None:
        """From now on `mode` acts, the policy or a person; what the other did so far is a decision."""
        if self.episode.rows:
            self._close_decision(now_ns, "", robot_time_s)
        self._settle()
        self.episode.chunk = self.request = self._row = None
        self.episode.acting, self.episode.helped = mode, True
        self._keeps = mode == Mode.TELEOP

    def _settle(self, next_stamp_ns: int = 0) -> None:
        """Record the decision that waits, if there is one; by itself it ends at the tick at which its rows had run."""
        if self._waiting:
            done, self._waiting = self._waiting, None
            self.records.append(replace(done, next_stamp_ns=next_stamp_ns) if next_stamp_ns else done)

    def run_row(self, now_ns: int) -> None:
        """Execute the row that is due: the goal moves over one action period, the hand follows its last entry."""
        row, self._row = self._row, None
        if row is None:
            return
        self._huge = self._huge + 1 if np.abs(row).max() > gates.HUGE else 0
        if self._huge >= self.config.limits.faults_before_hold:
            raise ActionError(
                f"{self._huge} actions in a row beyond {gates.HUGE} steps, the last {np.round(row, 1).tolist()}"
            )
        limits = self.config.limits
        moved_m = self.motion.aim(row_displacement(row, limits, self._row_s), self._row_ticks)
        self.episode.rows.append(np.array([*(moved_m / limits.step_m), self.gripper.grip(float(row[3]), now_ns)]))

    def finish(self, why: str, now_ns: int, robot_time_s: float) -> None:
        """End the episode; rows of a decision that was not closed are dropped, for nothing true can be said of them."""
        self._settle()
        success = why in ("success", "kept")
        own = why not in ("session", "discarded") and not self.episode.helped
        counted = success if self.source == Mode.TELEOP else own
        event = self.episode.event("ended", now_ns, robot_time_s, success, counted, why)
        self.tally.add(event)
        self.records.append(event)
        self.episode = self.request = self._row = None
        self._huge = 0

    def label(self, episode: int, success: bool) -> None:
        self.records.append(self.tally.label(episode, success, self.source == Mode.TELEOP))

    def _close_decision(self, now_ns, why, robot_time_s):
        done = self.episode.close_decision(now_ns, why, robot_time_s)
        if why or done.source == Mode.TELEOP or self.config.timing.waits:
            self.records.append(done)
        else:
            self._waiting = done
        self.decisions += 1
        self.episode.decision = self.decisions

    def _teleop_row(self, teleop: TeleopCommand | None) -> np.ndarray:
        """The device's velocity share as an action row: a full share moves at the speed limit for one period."""
        gates.check_teleop(teleop)
        limits = self.config.limits
        share = np.clip(teleop.velocity, -1, 1) * teleop.clutch
        closes = self._wishes_closed(teleop.close_gripper)
        return np.array([*(share * limits.tcp_speed_m_s * self._row_s / limits.step_m), 1 if closes else -1])

    def _wishes_closed(self, says: bool) -> bool:
        """What a device says of the hand, but for what it said before it was taken: the hand may hold something."""
        self._keeps = self._keeps and says == self._rested
        return self.gripper.closed if self._keeps else says
