"""The supervisor without ROS: one call of `tick` and one of `command` per tick of the command stream.

    tick -> None | DecisionRequest (then offer) | ResetRequest (then objects_reset);  command -> what the arm does next

Where a person places the objects, `asks` says so, and `objects_placed` is the answer.

Bad input never raises out of `tick` or `command`: it holds the arm with a latched reason, and the running episode has
failed. Robot time counts everything after `start`.
"""

import numpy as np

from tmrl_ros import fr3
from tmrl_ros.config import Resume, SupervisorConfig, Timing
from tmrl_ros.errors import ActionError, ConfigError, TmrlError
from tmrl_ros.supervisor import gates
from tmrl_ros.supervisor.arbiter import Arbiter
from tmrl_ros.supervisor.gripper import Gripper
from tmrl_ros.supervisor.motion import Motion
from tmrl_ros.supervisor.reset import Phase, Reset
from tmrl_ros.supervisor.runner import EpisodeRunner
from tmrl_ros.supervisor.watchdog import Repeats
from tmrl_ros.types import (
    ActionChunk,
    CommandWindow,
    Decision,
    EpisodeEvent,
    Mode,
    ResetRequest,
    RobotState,
    SessionState,
    SessionStatus,
    TaskState,
    TeleopCommand,
)

NOWHERE = np.zeros((0, 3))
STAMP_SLACK_NS = 500_000  # ticks of periods that are no whole ns drift by less in an hour
ASK = "put the objects back, step away, and confirm (objects_placed, or keep on the device)"
LARGEST_GAP_NS = 1_000_000_000  # of robot time between two ticks: a clock that jumps further is not believed
STILL_RAD_S = 0.01  # a joint that stands is measured slower
FROZEN = "the joint states repeat themselves: the driver reads the robot no more; look why, then start the driver again"


class SupervisorCore:
    def __init__(self, config: SupervisorConfig):
        timing = config.timing
        if timing.command_hz % timing.action_hz:
            raise ConfigError(
                f"timing.command_hz = {timing.command_hz} is no multiple of action_hz = {timing.action_hz}"
            )
        if (config.limits.workspace_min_m > fr3.HOME_TCP).any() or (config.limits.workspace_max_m < fr3.HOME_TCP).any():
            raise ConfigError(f"limits.workspace_min_m to _max_m must hold the home position {fr3.HOME_TCP.tolist()} m")
        self.config = config
        self.arbiter, self.gripper = Arbiter(), Gripper()
        self.motion = Motion(config.limits, timing.command_hz, committed=1 if timing.waits else 2)
        self.runner = EpisodeRunner(config, self.motion, self.gripper)
        self.state, self.holds, self._robot_time_ns = SessionState.WAITING, 0, 0
        self._row_ticks, self._due_tick = timing.command_hz // timing.action_hz, 0
        self._now_ns, self._robot, self._observing = None, None, False
        self._reset: Reset | None = None
        self._failed_resets, self._held_since_s, self._end_reason = 0, 0.0, ""
        self._pressed = False  # the emergency stop
        self._robot_fault = ""  # what the robot says is wrong with it
        self._repeats = Repeats()
        self._restarted = False  # its driver may have been, and the arm has not stood still since
        self._take_up(config.resume)

    def _take_up(self, before: Resume) -> None:
        """Count on from where a stopped session was; its episodes can no longer be labelled."""
        self._robot_time_ns, self.holds = round(before.robot_time_s * 1e9), before.holds
        self.runner.decisions, self.runner.next_episode = before.decisions, before.next_episode
        self.runner.tally.episodes, self.runner.tally.successes = before.episodes, before.successes

    # What the operator does

    def start(self) -> None:
        if self.state != SessionState.WAITING:
            raise TmrlError(f"the session is {self.state.name.lower()}; it starts once")
        if self.arbiter.latched:
            raise TmrlError(f"the session cannot start: {self.arbiter.reason}; resume first")
        self.state = SessionState.RUNNING
        self._begin_reset()

    def end(self, reason: str) -> None:
        """End the session; an episode that runs is cut and not counted."""
        if self.runner.episode:
            self.runner.finish("session", self._now_ns, self.robot_time_s)
        self.state, self._end_reason, self._reset = SessionState.ENDED, reason, None
        self.arbiter.want(Mode.HOLD)
        self.motion.stop()

    def resume(self) -> None:
        """A person's fresh action after a hold: from where the command is, so that nothing jumps, a reset follows."""
        if not self.arbiter.latched:
            raise TmrlError("there is no hold to resume from")
        if self._obstacle:
            raise TmrlError(self._obstacle)
        self.arbiter.resume()
        if self.state == SessionState.RUNNING:
            self._begin_reset()

    @property
    def _obstacle(self) -> str:
        """Why a hold cannot be resumed from yet, in a sentence; empty: nothing."""
        if self._pressed:
            return "the emergency stop is pressed; release it first"
        if self._robot_fault:
            return self._robot_fault
        still = self.motion.standing and not self._restarted
        return "" if still else "the arm is still moving; resume once it stands"

    def label(self, episode: int, success: bool) -> None:
        """A person's verdict on an ended episode."""
        self.runner.label(episode, success)

    # What happens each tick

    def tick(self, robot: RobotState, task: TaskState | None, teleop: TeleopCommand | None):
        """Take in the state of this tick; returns what has to be answered before `command`, or None.

        `task` and `teleop` are looked at on observation ticks of an episode only.
        """
        try:
            self._keep_time(robot)
            self._guard(robot)
            if self.state == SessionState.RUNNING:
                return self._advance(task, teleop)
        except ActionError as error:
            self.hold(str(error))
        return None

    def offer(self, chunk: ActionChunk) -> None:
        """The answer to a DecisionRequest. Raises ActionError: a foreign chunk is ignored, a bad one also holds."""
        gates.check_identity(chunk, self.runner.request)
        gates.check_stamp(chunk, self.runner.request, self._now_ns, self.config.timing, self.config.limits)
        try:
            gates.check_content(chunk, self.config.timing)
        except ActionError as error:
            self.hold(str(error))
            raise
        self.runner.accept(chunk)
        self._due_tick = 0  # where time is real, the first row runs in the next tick

    def observes(self, stamp_ns: int) -> bool:
        """Whether the tick of this stamp is one of observation, at which a row of actions begins.

        In lockstep every row_ticks-th is. Where time is real they are as far apart, but a chunk begins when it comes.
        """
        tick = tick_number(stamp_ns, self.config.timing)
        return tick % self._row_ticks == 0 if self.config.timing.waits else tick >= self._due_tick

    def objects_reset(self, ok: bool) -> None:
        """The answer to a ResetRequest; ignored where none is open."""
        if self._placing:
            self._reset.placed(ok)

    def objects_placed(self) -> None:
        """A person has put the objects back, as `status` asked them to."""
        if not self.asks:
            raise TmrlError("no reset waits for objects; they are asked for once the arm is home")
        self._reset.placed(True)

    @property
    def _placing(self) -> bool:
        return bool(self._reset and self._reset.phase == Phase.PLACE)

    @property
    def asks(self) -> str:
        """What a person is asked to do now, in a sentence; empty: nothing."""
        return ASK if self._placing and self.config.placing == "operator" else ""

    def intervene(self) -> None:
        """A person takes the device while the policy acts: its rows end here, theirs begin once the arm stands."""
        if self.arbiter.mode == Mode.POLICY and self.runner.episode:
            self._hand_over(Mode.TELEOP)

    def emergency_stop(self, pressed: bool) -> None:
        """The state of the emergency stop: a fault while it is pressed, and until a person resumes after it."""
        self._pressed = pressed
        if pressed:
            self._stop(Mode.FAULT, "the emergency stop is pressed")

    def robot_fault(self, reason: str) -> None:
        """What the robot says is wrong with it (empty: nothing): a fault, and until a person resumes after it."""
        self._robot_fault = reason
        if reason:
            self._stop(Mode.FAULT, reason)

    def silence(self, source: str) -> None:
        """A watchdog of the caller ran out."""
        self.hold(f"{source} is silent")

    def hold(self, reason: str) -> None:
        """Stop within 0.2 s and stay, until resume. The running episode has failed; its open decision is dropped."""
        self._stop(Mode.HOLD, reason)

    def command(self) -> tuple[CommandWindow, float]:
        """The window of this tick and the wanted full gripper width, m."""
        if self.runner.episode and self._observing:
            try:
                if self.runner.request and self.config.timing.waits:
                    raise ActionError(f"no action chunk answered decision {self.runner.request.decision}")
                self.runner.run_row(self._now_ns)
            except ActionError as error:
                self.hold(str(error))
        return self.motion.plan(self._window_ns, self.gripper.closed), self.gripper.width_m

    def drain(self) -> list[Decision | EpisodeEvent]:
        """Records made since the last call, in order."""
        records, self.runner.records = self.runner.records, []
        return records

    @property
    def awaits_chunk(self) -> bool:
        return self.runner.request is not None

    @property
    def robot_time_s(self) -> float:
        """What the hour counts: motion, resets and holds since `start`."""
        return self._robot_time_ns * 1e-9

    def status(self) -> SessionStatus:
        runner, tally = self.runner, self.runner.tally
        return SessionStatus(
            stamp_ns=self._now_ns or 0, state=self.state, mode=self.arbiter.mode,
            reason=self._end_reason or self.arbiter.reason or self.asks, robot_time_s=self.robot_time_s,
            episode=runner.episode.index if runner.episode else runner.next_episode, episodes=tally.episodes,
            successes=tally.successes, recent_success=tally.recent_success, decisions=runner.decisions,
            holds=self.holds,
        )  # fmt: skip

    def _keep_time(self, robot: RobotState) -> None:
        """Robot time, the place on the last window, and whether an observation belongs to this tick."""
        before_ns, self._now_ns, self._robot = self._now_ns, robot.stamp_ns, robot
        timing = self.config.timing
        tick = tick_number(robot.stamp_ns, timing)
        if before_ns is not None and robot.stamp_ns < before_ns:
            self._due_tick = 0  # the clock went back, and what was due with it
        self._observing = self.observes(robot.stamp_ns)
        if self._observing:
            self._due_tick = tick + self._row_ticks
        self._window_ns = robot.stamp_ns if timing.waits else tick * 1_000_000_000 // timing.command_hz
        gates.check_robot_numbers(robot)
        if before_ns is None:
            return self.motion.anchor(robot.q)
        gap_s = (robot.stamp_ns - before_ns) * 1e-9
        if self.state == SessionState.RUNNING:
            self._robot_time_ns += min(max(robot.stamp_ns - before_ns, 0), LARGEST_GAP_NS)
        self.motion.advance(max(0, tick - tick_number(before_ns, timing)))
        limit_s = max(self.config.limits.command_timeout_s, 1.5 * self.motion.dt)
        if gap_s * 1e9 > LARGEST_GAP_NS:
            # Its driver may have been started again, and holds what it measured then, not what was commanded.
            self._restarted = True
            self.motion.anchor(robot.q)
        if not 0 <= gap_s <= limit_s:
            raise ActionError(f"joint states jumped by {gap_s:.3f} s; 0 to {limit_s:.3f} s are valid")
        return None

    def _guard(self, robot: RobotState) -> None:
        if self._restarted or (self._robot_fault and self.motion.standing):
            self.motion.anchor(robot.q)  # it follows no command now, and shall not leap to an old one
        self._restarted = self._restarted and bool(np.abs(robot.dq).max() >= STILL_RAD_S)
        if not self.config.timing.waits and self._repeats.frozen(robot, not self.motion.standing):
            self._stop(Mode.FAULT, FROZEN)
        try:
            gates.check_following(robot, self.motion.q)
        except ActionError as error:
            self._give_way(Mode.FAULT, str(error), robot)
        try:
            if self._reset or self.runner.episode:
                gates.check_force(robot, self.config.limits)
            if self.runner.episode:
                gates.check_place(robot, self.config.limits)
        except ActionError as error:
            self._give_way(Mode.HOLD, str(error), robot)
        if self.runner.episode:
            self.gripper.check(robot.width_m, robot.stamp_ns)

    def _advance(self, task, teleop):
        """Let the session go on by one tick."""
        if self._auto_resume_due():
            self.resume()
        if self._time_is_up() and not self.runner.episode:
            return self.end(f"{self.config.session_min:g} robot-minutes are over")
        mode = self.arbiter.tick(self.motion.standing)
        if mode == Mode.RESET:
            return self._tick_reset()
        if mode in (Mode.POLICY, Mode.TELEOP) and self._observing:
            return self._observe(task, teleop)
        return None

    def _observe(self, task, teleop):
        if self.config.judge == "operator":
            task = TaskState(self._now_ns, False, NOWHERE)
        if task is None:
            raise ActionError("the reward source is silent")
        if not self.runner.episode:
            if task.success:
                return self._reset_failed("the task is already done before the episode began")
            self._failed_resets = 0
            self.runner.begin(self._now_ns, self.robot_time_s)
        request = self.runner.observe(self._now_ns, task, teleop, self.robot_time_s, self._time_is_up())
        if not self.runner.episode:
            self._after_episode()
        elif self.arbiter.mode == Mode.TELEOP != self.runner.source and not teleop.clutch:
            self._hand_over(Mode.POLICY)
        return request

    def _hand_over(self, mode: Mode) -> None:
        self.runner.hand_over(mode, self._now_ns, self.robot_time_s)
        self.motion.stop()
        self.arbiter.want(mode)

    def _after_episode(self) -> None:
        if self._time_is_up():
            self.end(f"{self.config.session_min:g} robot-minutes are over")
        elif self._all_are_done() and (self.config.mode, self.config.judge) != ("evaluate", "operator"):
            self._end_as_done()  # an operator may still label the last one, in the reset
        else:
            self._begin_reset()

    def _all_are_done(self) -> bool:
        return self.config.mode != "finetune" and self.runner.tally.episodes >= self.config.episodes

    def _end_as_done(self) -> None:
        self.end(f"{self.runner.tally.episodes} episodes are done")

    def _begin_reset(self) -> None:
        by_hand = self.config.placing == "operator"
        self._reset = Reset(self.motion, self.gripper, self.config.task.reset_s, by_hand)
        self.motion.stop()
        self.arbiter.want(Mode.RESET)

    def _tick_reset(self) -> ResetRequest | None:
        before = self._reset.phase
        phase = self._reset.tick(self.motion.dt)
        if phase == Phase.FAILED:
            self._reset_failed("the reset was not done in time or the objects could not be placed")
        elif phase == Phase.DONE and self._all_are_done():
            self._end_as_done()
        elif phase == Phase.DONE:
            self.motion.stop()
            self.arbiter.want(self.runner.source)
        elif phase == Phase.PLACE and before != Phase.PLACE:
            return self._place()
        return None

    def _place(self) -> ResetRequest | None:
        if self.config.placing == "service":
            return ResetRequest(self._now_ns, self.config.start_stream, self.runner.next_episode)
        if self.config.placing == "nobody":
            self._reset.placed(True)
        return None

    def _reset_failed(self, why: str) -> None:
        self._failed_resets += 1
        if self._failed_resets >= self.config.reset_failures:
            self.end(f"{self._failed_resets} resets in a row failed: {why}")
        else:
            self._begin_reset()

    def _give_way(self, mode: Mode, reason: str, robot: RobotState) -> None:
        """Stop, and no longer press: the command goes to where the arm is, within its limits."""
        self._stop(mode, reason)
        self.motion.aim_joints(robot.q)

    def _stop(self, mode: Mode, reason: str) -> None:
        if not self.arbiter.latched:
            self.holds += 1
            self._held_since_s = self.robot_time_s
        self.arbiter.stop(mode, reason)
        self.motion.stop()
        self._reset = None
        if self.runner.episode:
            self.runner.finish(reason, self._now_ns, self.robot_time_s)

    def _auto_resume_due(self) -> bool:
        held_s = self.robot_time_s - self._held_since_s
        wait_s = self.config.auto_resume_s
        return bool(self.arbiter.latched and wait_s and held_s >= wait_s and not self._obstacle)

    def _time_is_up(self) -> bool:
        return self.config.mode == "finetune" and self.robot_time_s >= self.config.session_min * 60 - 1e-6


def tick_number(stamp_ns: int, timing: Timing) -> int:
    """The tick of the command stream in which a stamp lies."""
    return (stamp_ns + STAMP_SLACK_NS) * timing.command_hz // 1_000_000_000
