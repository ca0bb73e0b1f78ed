"""What a Franka says of itself, and the way out of a reflex: asked for by a person, timed out, counted.

Pure: the caller brings monotonic time, sends the recovery when told to, and says what came of it.
"""

from collections.abc import Sequence
from enum import IntEnum, StrEnum

from tmrl_ros.config import RecoveryConfig
from tmrl_ros.errors import TmrlError

HOUR_S = 3600.0


class RobotMode(IntEnum):
    """As in franka_msgs/FrankaRobotState."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5
    RECOVERING = 6


def fault_of(mode: int, errors: Sequence[str]) -> str:
    """Why the arm must not be commanded, in a sentence, or empty; `errors` are the flags that are raised."""
    named = f" ({', '.join(name.replace('_', ' ') for name in errors)})" if errors else ""
    if mode == RobotMode.USER_STOPPED:
        return f"the robot's user stop is pressed{named}; release it, then resume"
    if mode == RobotMode.RECOVERING:
        return f"the robot recovers from an error{named}"
    if mode == RobotMode.REFLEX:
        return f"the robot is in a reflex{named}; look why, then call recover"
    if mode == RobotMode.GUIDING:
        return "the robot is guided by hand; let go, then resume"
    if errors:
        return f"the robot reports an error{named}; look why, then call recover"
    return ""


class Step(StrEnum):
    """Of one recovery."""

    NONE = ""
    ACTION = "error_recovery"  # the robot has been asked
    DRIVER = "driver and controllers active"  # it has said yes; ros2_control has stopped both, or has not
    CLEAR = "no more error"  # now its state has to say so too


# What to do about a step that takes too long. Activation is known to hang after some errors: franka_ros2#212.
HINTS = {
    Step.ACTION: "look at the robot",
    Step.DRIVER: "start franka_bringup again",
    Step.CLEAR: "look at the robot; if its state is silent, start franka_bringup again",
}


class Recovery:
    """At most one at a time; `outcome` is the sentence on the last one, `succeeded` its value."""

    def __init__(self, config: RecoveryConfig):
        self._config = config
        self._mode: int | None = None  # unknown
        self._errors: tuple[str, ...] = ()
        self._heard = False  # since the recovery began
        self._begun_s: list[float] = []  # recoveries of the last hour
        self._in_episode, self._episode = 0, -1
        self.step, self._step_ends_s = Step.NONE, 0.0
        self.outcome, self.succeeded = "", True

    @property
    def fault(self) -> str:
        """Why the arm must not be commanded, or empty."""
        return "" if self._mode is None else fault_of(self._mode, self._errors)

    def hear(self, mode: int, errors: Sequence[str]) -> None:
        """The robot's state."""
        self._mode, self._errors, self._heard = mode, tuple(errors), True
        if self.step and mode == RobotMode.USER_STOPPED:
            self._end(False, "the user stop was pressed during the recovery")
        elif self.step == Step.CLEAR and not self.fault:
            self._end(True, "the robot has recovered; it holds where it was measured, and resume goes on")

    def episode_began(self, episode: int) -> None:
        if episode != self._episode:
            self._episode, self._in_episode = episode, 0

    def confirm(self, now_s: float, ready: bool, silent: bool = False) -> None:
        """A person asks for a recovery: `step` is ACTION then. Raises TmrlError that says why not.

        A state that fell `silent` counts as a fault: the driver says no more when an error of the robot stops it.
        """
        self._begun_s = [begun_s for begun_s in self._begun_s if now_s - begun_s < HOUR_S]
        if self.step:
            raise TmrlError("a recovery is under way")
        if self._mode is None:
            raise TmrlError("the robot's state was never heard; is franka_robot_state_broadcaster active?")
        if self._mode == RobotMode.USER_STOPPED:
            raise TmrlError("the user stop is pressed; release it by hand first")
        if not (self.fault or silent) or self._mode in (RobotMode.GUIDING, RobotMode.RECOVERING):
            raise TmrlError(f"there is nothing to recover from; {self.fault or 'the robot reports no error'}")
        for done, most, span in (
            (self._in_episode, self._config.per_episode, "since the last episode began"),
            (len(self._begun_s), self._config.per_hour, "within an hour"),
        ):
            if done >= most:
                raise TmrlError(f"{done} recoveries {span}, at most {most}: find the cause, and unlock in Desk")
        if not ready:
            raise TmrlError("nobody serves action_server/error_recovery; is franka_bringup running?")
        self._begun_s.append(now_s)
        self._in_episode += 1
        self.succeeded, self.outcome, self._heard = True, "recovering", False
        self._enter(Step.ACTION, now_s)

    def answered(self, problem: str, now_s: float) -> None:
        """The robot's answer to the action; ignored where it comes too late."""
        if self.step != Step.ACTION:
            return
        if problem:
            return self._end(False, f"the robot did not recover: {problem}")
        return self._enter(Step.DRIVER, now_s)

    def driven(self, problem: str, now_s: float) -> None:
        """What came of making driver and controllers active; ignored where it comes too late."""
        if self.step != Step.DRIVER:
            return
        if problem:
            return self._end(False, f"the robot recovered, its driver did not: {problem}")
        self._enter(Step.CLEAR, now_s)
        if self._heard:
            self.hear(self._mode, self._errors)

    def watch(self, now_s: float) -> None:
        """For a timer: a step that takes too long ends the recovery."""
        if self.step and now_s > self._step_ends_s:
            took = f"the recovery took over {self._config.step_s:g} s at {self.step!s}"
            self._end(False, f"{took}; {HINTS[self.step]}")

    def _enter(self, step: Step, now_s: float) -> None:
        self.step, self._step_ends_s = step, now_s + self._config.step_s

    def _end(self, succeeded: bool, outcome: str) -> None:
        self.step, self.succeeded, self.outcome = Step.NONE, succeeded, outcome
