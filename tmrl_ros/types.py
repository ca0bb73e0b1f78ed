"""What crosses the seams between domain packages: plain frozen records of numpy arrays, no ROS, no torch.

Stamps are integer nanoseconds of ROS time. Positions are in the robot base frame (fr3_link0), m; angles in rad.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

EMPTY = np.zeros(0, np.float32)
ACTION_NAMES = ("tcp_displacement_x", "tcp_displacement_y", "tcp_displacement_z", "grip")  # of a row, each in [-1, 1]


class Mode(IntEnum):
    """Who moves the arm. Every change between two of the others passes through HOLD."""

    HOLD = 0
    TELEOP = 1
    POLICY = 2
    RESET = 3
    FAULT = 4


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees at one acquisition stamp; `state` is float32 [state_dim], its layout named by the task."""

    stamp_ns: int
    state: np.ndarray
    images: dict[str, np.ndarray] = field(default_factory=dict)  # name -> uint8 [height, width, 3], rgb
    cloud: np.ndarray | None = None  # float32 [points, 3 or 6], m (and rgb in 0..1), base frame


@dataclass(frozen=True, slots=True)
class Modulation:
    """What the actor chose for one chunk: flow noise `z`, context timestep `sigma` in [0, 1], and their companions."""

    z: np.ndarray  # float32 [action_dim] (repeated over the chunk) or [action_horizon * action_dim]
    sigma: float = 0.0
    context_noise: np.ndarray = field(default_factory=lambda: EMPTY)  # float32 [context_dim] or empty
    residual: np.ndarray = field(default_factory=lambda: EMPTY)  # float32 [action_dim], [rows * action_dim] or empty


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """The supervisor asks for one chunk at this stamp: in lockstep from its observation, elsewhere from the newest."""

    stamp_ns: int
    episode: int
    decision: int  # counts every policy decision of the session, never reset
    greedy: bool  # deterministic (evaluation) rather than exploring


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """A policy's answer: `actions` is float32 [action_horizon, action_dim], rows dt_s apart from when it comes.

    `stamp_ns` is that of the observation it was made from.
    """

    stamp_ns: int
    episode: int
    decision: int
    dt_s: float
    actions: np.ndarray
    modulation: Modulation
    actor_version: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of one chunk (or one stretch of teleoperation): what ran, what it earned, how it ended.

    `actions` are the executed rows, float32 [1..execution_horizon, action_dim]; `stamp_ns` and `next_stamp_ns` name the
    observations before and after. `terminated` is success or failure by the task, `truncated` is time or a person.
    """

    stamp_ns: int
    next_stamp_ns: int
    episode: int
    decision: int
    source: Mode  # POLICY or TELEOP
    actions: np.ndarray
    modulation: Modulation
    actor_version: int
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    greedy: bool
    robot_time_s: float


@dataclass(frozen=True, slots=True)
class RobotState:
    """Arm and gripper at one stamp: q, dq float64 [7] (rad, rad/s); width_m the full opening; force_n external [3]."""

    stamp_ns: int
    q: np.ndarray
    dq: np.ndarray
    width_m: float
    force_n: np.ndarray


@dataclass(frozen=True, slots=True)
class TaskState:
    """What the reward source says at one stamp; `objects_m` are true positions, float64 [n, 3] (simulation only)."""

    stamp_ns: int
    success: bool
    objects_m: np.ndarray


@dataclass(frozen=True, slots=True)
class TeleopCommand:
    """A device's wish at one stamp: linear velocity as a share of the limit in [-1, 1] per base axis, and the grip."""

    stamp_ns: int
    velocity: np.ndarray  # float64 [3]
    close_gripper: bool
    clutch: bool  # held: the device moves the arm
    keep: bool = False  # the person ends the episode as good
    discard: bool = False  # the person throws the episode away


@dataclass(frozen=True, slots=True)
class CommandWindow:
    """A bounded stretch of joint motion in absolute time; the last point stands still, so silence means stop."""

    stamp_ns: int
    times_s: np.ndarray  # float64 [n], from stamp, first 0
    q: np.ndarray  # float64 [n, 7]
    dq: np.ndarray  # float64 [n, 7]
    close_gripper: bool


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """The supervisor asks for the objects of one episode; their start follows from (seed, stream, episode) alone."""

    stamp_ns: int
    stream: int
    episode: int


@dataclass(frozen=True, slots=True)
class EpisodeEvent:
    """A turn in the life of an episode. `kind` is "started" (the fields after greedy are empty), "ended" or "labelled".

    `counted` is false where the episode was cut or discarded, where a person helped the policy in it (which rates take
    as its failure), or where it failed in a collect session: it makes no demonstration.
    """

    stamp_ns: int  # of the episode's first or last observation
    episode: int  # counts every episode of the session, from 0
    kind: str
    source: Mode  # POLICY or TELEOP
    greedy: bool
    success: bool
    counted: bool
    decisions: int  # how many the episode had
    reason: str  # "success", "time", "kept", "discarded", "session", or what held the arm
    robot_time_s: float

    @property
    def helped(self) -> bool:
        """Whether a person took the arm from the policy in this episode, which ran to its end."""
        own = self.source == Mode.POLICY and self.kind != "started"
        return own and not self.counted and self.reason not in ("session", "discarded")

    @property
    def judged(self) -> bool:
        """Whether a success rate counts it: a helped one too, for a person takes over just those that would fail."""
        return self.counted or self.helped

    @property
    def achieved(self) -> bool:
        """Whether it counts as a success, which one with help never does."""
        return self.counted and self.success


@dataclass(frozen=True, slots=True)
class Label:
    """A person's verdict on an episode that has ended, for the learner."""

    episode: int
    success: bool

    @classmethod
    def of(cls, event: EpisodeEvent) -> "Label | None":
        """What `event` says of success after the end, if it does."""
        return cls(event.episode, event.success) if event.kind == "labelled" else None


class SessionState(IntEnum):
    WAITING = 0
    RUNNING = 1
    ENDED = 2


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """Where the session stands; `reason` says in a sentence why it holds or why it ended, and is empty otherwise."""

    stamp_ns: int
    state: SessionState
    mode: Mode
    reason: str
    robot_time_s: float  # motion, holds and resets since the start
    episode: int  # running or next
    episodes: int  # that ended and count; those in which a person helped count as failures
    successes: int  # of those
    recent_success: float  # share of the last 20 of those, 0 before the first
    decisions: int
    holds: int  # latched ones: each has a reason
