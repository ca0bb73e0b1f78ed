"""One frozen model a node: the only place a setting, its unit, its bounds and its default are written.

Loaded from ROS parameters (dotted names become nested models) or from the same YAML file without ROS. An unknown key, a
wrong type or an unsafe value raises ConfigError, which names the key.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from tmrl_ros.documents import shown
from tmrl_ros.errors import ConfigError

Vector3 = tuple[float, float, float]
CameraName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]  # becomes part of topics' names
TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
SimulatedTask = Literal["pick_cube", "push_cube"]


class Model(BaseModel):
    """Strict and frozen: extra keys, NaN and infinity are refused, and true and false for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_flags(cls, value, info):
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation in (int, float):
            raise ValueError("a number is wanted here, not true or false")
        return value


class Timing(Model):
    """Facts of time that every node shares."""

    command_hz: int = Field(20, ge=10, le=100, description="ticks of the command stream a second")
    action_hz: int = Field(10, ge=1, le=50, description="rows of an action chunk a second; divides command_hz")
    action_horizon: int = Field(16, ge=1, le=64, description="rows in a chunk")
    execution_horizon: int = Field(8, ge=1, le=64, description="rows that run before the next decision")
    lockstep: bool = Field(True, description="simulation waits for every node, so a seed gives the same session")
    real_time: bool = Field(False, description="simulation is paced by the wall clock")
    lockstep_timeout_s: float = Field(5.0, gt=0, le=60, description="wall time after which a missing answer is a fault")

    @property
    def waits(self) -> bool:
        """Whether a tick waits for all that belongs to it; a robot, and a simulation in real time, go on without."""
        return self.lockstep and not self.real_time

    @property
    def tolerance_ns(self) -> int:
        """How old what was seen at a stamp may be: in lockstep it is of that stamp, elsewhere frames have their own."""
        return 0 if self.waits else 200_000_000


class Shift(Model):
    """What differs between demonstration and deployment, so that a person can see what the base policy meets."""

    camera_bias_m: Vector3 = Field((0.0, 0.0, 0.0), description="added to every observed object position, base frame")
    camera_moved_m: Vector3 = Field(
        (0.0, 0.0, 0.0), description="by which the rendered camera stands elsewhere than its calibration says"
    )
    start_region_offset_m: Vector3 = Field((0.0, 0.0, 0.0), description="moves the region objects start in")
    friction_scale: float = Field(1.0, gt=0.1, le=5)
    mass_scale: float = Field(1.0, gt=0.1, le=10)


class Task(Model):
    name: TaskName = Field("pick_cube", description="a label on a robot; in simulation what is simulated")
    episode_s: float = Field(8.0, gt=0, le=120, description="robot time after which an episode is truncated")
    reset_s: float = Field(3.0, gt=0, le=60, description="robot time of a scripted reset")


class NodeConfig(Model):
    seed: int = Field(0, ge=0)
    timing: Timing = Timing()
    task: Task = Task()


class SceneCamera(Model):
    """The simulated camera: where it stands, base frame, and what it sees; the image's x is level."""

    position_m: Vector3 = (1.35, 0.05, 0.72)
    target_m: Vector3 = Field((0.518, 0.05, 0.165), description="at which it looks")
    fovy_deg: float = Field(50.0, ge=5, le=120, description="angle of view from the image's top to its bottom")
    width_px: int = Field(320, ge=16, le=1280, description="of colour and of depth")
    height_px: int = Field(240, ge=16, le=960)


class SimConfig(NodeConfig):
    shift: Shift = Shift()
    render: bool = Field(False, description="publish camera images (EGL)")
    camera: SceneCamera = SceneCamera()


class CloudConfig(Model):
    """From depth images to one cloud of a fixed size, base frame."""

    points: int = Field(1024, ge=16, le=16384, description="of the cloud, always")
    crop_min_m: Vector3 = (0.2, -0.4, -0.05)
    crop_max_m: Vector3 = (0.8, 0.4, 0.6)
    table: Literal["height", "fit", "keep"] = Field("height", description="fit: RANSAC on the first images")
    table_height_m: float = Field(0.0, ge=-1, le=2, description="height: where the table's top is")
    table_clearance_m: float = Field(0.006, ge=0, le=0.05, description="what lies lower above the table goes with it")
    voxel_m: float = Field(0.006, ge=0.001, le=0.1)
    neighbours: int = Field(10, ge=1, description="points in a voxel and its 26 neighbours, or it is an outlier")
    points_min: int = Field(64, ge=1, description="voxels that must remain, or the images are refused")
    depth_unit_m: float = Field(0.001, gt=0, le=0.1, description="of one count of a uint16 depth image")
    colour: bool = Field(False, description="the cloud carries rgb, from images aligned to depth")


class StreamLimits(Model):
    """When frames of one camera stream count as faulty; the deadlines are those of the safety document."""

    encoding: str = "16UC1"
    hz: float = Field(30.0, gt=0, le=300)
    age_s: float = Field(0.2, gt=0, le=1.0)
    future_s: float = Field(0.05, gt=0, le=0.5)
    silence_s: float = Field(0.2, gt=0, le=5.0)
    valid_share: float = Field(0.05, ge=0, le=1, description="of pixels that see something; fewer is an empty image")
    frozen_frames: int = Field(4, ge=0, description="equal images in a row; 0: never (a noiseless simulated camera)")
    bad_before_hold: int = Field(3, ge=1, description="refused frames in a row before a hold")


class CameraView(Model):
    """What one camera gives to observations; its topics are named as realsense-ros does."""

    topic: str = Field("", description="beginning of its topics' names; empty: camera/NAME")
    width_px: int = Field(128, ge=0, le=1920, description="of its image in observations; 0: none")
    height_px: int = Field(128, ge=0, le=1920)
    cloud: bool = Field(True, description="its depth, aligned to colour, becomes part of the cloud")


class PerceptionConfig(NodeConfig):
    """Without cameras: positions of objects from a tracker. With cameras the first one's frames pace observations."""

    cameras: dict[CameraName, CameraView] = Field(
        {}, exclude_if=lambda cameras: not cameras, description="by name; a ROS parameter file holds no empty map"
    )
    calibration: str = Field("", description="cameras: the file that `tmrl calibrate` wrote")
    state: str = Field(
        "tcp_position gripper_width object_from_tcp tcp_position_error",
        pattern=r"^((joint_position|tcp_position|gripper_width|object_from_tcp|tcp_position_error)( |$))+$",
        description="cameras: what Observation.state holds, in this order, separated by spaces",
    )
    tolerance_s: float = Field(0.05, ge=0, le=0.5, description="cameras: between a frame's stamp and the robot's")
    camera_tolerance_s: float = Field(0.02, ge=0, le=0.5, description="between stamps of two camera streams")
    stream: StreamLimits = StreamLimits()
    cloud: CloudConfig = CloudConfig()


class RealSenseCamera(Model):
    """One device, and what its driver is to set; of the SDK's settings those that depth and colour depend on."""

    serial: str = Field("", description="of the device, in quotes; empty: the only one there is")
    width_px: int = Field(640, ge=64, le=4096, description="of colour and of depth")
    height_px: int = Field(480, ge=64, le=4096)
    fps: int = Field(30, ge=1, le=300)
    preset: Literal["", "default", "hand", "high_accuracy", "high_density", "medium_density"] = Field(
        "", description="of depth; empty: as the device has it"
    )
    exposure_us: int = Field(0, ge=0, le=1_000_000, description="of colour; 0: automatic")
    depth_exposure_us: int = Field(0, ge=0, le=1_000_000, description="of depth; 0: automatic")


class RealSenseConfig(NodeConfig):
    cameras: dict[CameraName, RealSenseCamera] = Field(
        {}, exclude_if=lambda cameras: not cameras, description="by name; topics begin with camera/NAME"
    )
    silence_s: float = Field(1.0, gt=0.05, le=10, description="without a frame, after which a device is opened again")
    retry_first_s: float = Field(0.5, gt=0, le=10, description="wait before the first try to open it again")
    retry_longest_s: float = Field(10.0, gt=0, le=300, description="the wait doubles from try to try up to this")


class SpacenavMap(Model):
    """Which axis and button of a device's Joy messages means what: here of a SpaceMouse, as spacenav_node reports it.

    Velocity is along x forward, y left and z up, seen from the base.
    """

    axes: tuple[int, int, int] = Field((0, 1, 2), description="index of the axis that moves along x, y and z")
    scales: Vector3 = Field((1.0, 1.0, 1.0), description="velocity share at full deflection; negative turns an axis")
    dead_band: float = Field(0.1, ge=0, lt=1, description="deflection that is still rest; motion begins there at 0")
    clutch_button: int = Field(
        -1, ge=-1, description="held while the device moves the arm; -1: moving it takes the arm"
    )
    release_s: float = Field(0.5, gt=0, le=10, description="without a clutch button: rest after which it is let go")
    grip_button: int = Field(0, ge=0, description="opens and closes the hand in turn")
    keep_button: int = Field(1, ge=0, description="ends the episode as good")
    discard_button: int = Field(-1, ge=-1, description="throws the episode away; -1: a long press of keep_button")


class GamepadMap(SpacenavMap):
    """The same of an Xbox pad, as joy_node reports it: left stick and right stick, LB, A, start, back."""

    axes: tuple[int, int, int] = (1, 0, 4)
    clutch_button: int = Field(4, ge=-1)
    keep_button: int = Field(7, ge=0)
    discard_button: int = Field(6, ge=-1)


class GelloMap(Model):
    """How a GELLO, a small arm in a person's hand, becomes velocity: the arm follows how far its TCP was moved."""

    scale: float = Field(1.0, gt=0, le=5, description="of the arm's way over the device's")
    step_m: float = Field(0.025, gt=0, le=0.1, description="of a velocity share of 1 in an action row: limits.step_m")
    lag_s: float = Field(0.3, ge=0.1, le=2, description="for which the arm may still follow a hand that rests")
    rest_m: float = Field(0.003, gt=0, le=0.05, description="way that is still rest: a hand trembles")
    jump_m: float = Field(0.1, gt=0, le=1, description="between two messages, beyond which an encoder has failed")
    release_s: float = Field(1.0, gt=0, le=10, description="without buttons: rest after which it is let go")
    close_below: float = Field(0.4, gt=0, lt=1, description="share of the trigger's width at which the hand closes")
    open_above: float = Field(0.6, gt=0, lt=1, description="the same at which it opens again")
    clutch_button: int = Field(-1, ge=-1, description="of gello/joy, such as a foot pedal; -1: moving it takes the arm")
    keep_button: int = Field(1, ge=0, description="of gello/joy: ends the episode as good")
    discard_button: int = Field(2, ge=0, description="of gello/joy: throws the episode away")


class KeyboardMap(Model):
    """How keys become velocity: a terminal tells of presses and repeats only, never of a release."""

    slow: float = Field(0.25, gt=0, le=1, description="velocity share of a small letter")
    fast: float = Field(1.0, gt=0, le=1, description="velocity share of a capital letter")
    hold_s: float = Field(
        0.09, gt=0, le=1, description="for which a press moves: more than a key repeat, less than an action row"
    )


class BoardConfig(Model):
    """The printed ChArUco board."""

    columns: int = Field(7, ge=3, le=30, description="squares along its x")
    rows: int = Field(5, ge=3, le=30)
    square_m: float = Field(0.04, gt=0, le=0.5, description="edge, measured on the print")
    marker_m: float = Field(0.03, gt=0, le=0.5)
    dictionary: Literal["DICT_4X4_100", "DICT_5X5_100", "DICT_6X6_250"] = "DICT_5X5_100"
    corners_min: int = Field(8, ge=6, description="inner corners that an image must show to count as a view")


class CalibrationLimits(Model):
    """What a hand-eye calibration must reach to be written."""

    views_min: int = Field(8, ge=4)
    rotation_deg: float = Field(10.0, gt=0, le=90, description="turns of the hand about its second axis, rms")
    reprojection_px: float = Field(1.0, gt=0, le=10, description="rms over all corners, hand-eye included")
    board_m: float = Field(0.005, gt=0, le=0.05, description="rms of where the views put the board, against the mean")
    board_deg: float = Field(1.0, gt=0, le=10)
    position_std_m: float = Field(0.002, gt=0, le=0.05, description="of the camera's position, largest axis")


class TeleopConfig(NodeConfig):
    device: Literal["script", "joy", "keyboard", "spacenav", "gamepad", "gello"] = "script"
    terminal: str = Field("/dev/tty", description="keyboard: the terminal whose keys are read")
    lost_s: float = Field(0.5, gt=0, le=5, description="all but the keyboard: silence after which the device is lost")
    keyboard: KeyboardMap = KeyboardMap()
    spacenav: SpacenavMap = SpacenavMap()
    gamepad: GamepadMap = GamepadMap()
    gello: GelloMap = GelloMap()


class SafetyLimits(Model):
    """Bounds that no action can widen; defaults from shared facts on the FR3."""

    workspace_min_m: Vector3 = (0.28, -0.35, 0.012)
    workspace_max_m: Vector3 = (0.75, 0.35, 0.55)
    tcp_speed_m_s: float = Field(0.25, gt=0, le=1.0)
    tcp_acceleration_m_s2: float = Field(2.0, gt=0, le=9.0)
    tcp_deceleration_m_s2: float = Field(3.0, gt=0, le=9.0, description="of a stop")
    step_m: float = Field(0.025, gt=0, le=0.1, description="largest TCP motion of one action row, per axis")
    joint_speed_share: float = Field(1.0, gt=0, le=1.0, description="of the FR3's rectangular joint speed table")
    joint_acceleration_share: float = Field(0.5, gt=0, le=1.0, description="of 10 rad/s^2")
    joint_deceleration_share: float = Field(0.9, gt=0, le=1.0, description="of the same, of a stop")
    force_hold_n: float = Field(30.0, gt=0, le=100)
    observation_age_s: float = Field(0.2, gt=0, le=1.0)
    future_stamp_s: float = Field(0.05, gt=0, le=0.5)
    command_timeout_s: float = Field(0.13, gt=0, le=1.0, description="silence of a needed source before a hold")
    state_timeout_s: float = Field(0.15, gt=0, le=1.0, description="the same of the arm's joint states")
    heartbeat_timeout_s: float = Field(0.12, gt=0, le=1.0, description="the same of the policy, where time is real")
    faults_before_hold: int = Field(5, ge=1, description="huge actions in a row before a hold; each is clamped")


class CrispConfig(NodeConfig):
    target: Literal["joint", "pose"] = Field("joint", description="what the active CRISP controller follows")
    stream_hz: int = Field(200, ge=100, le=1000, description="its target filter lasts about 10 ms")


class HandConfig(Model):
    """Goals for a Franka hand."""

    speed_m_s: float = Field(0.1, gt=0, le=0.1)
    force_n: float = Field(20.0, gt=0, le=70, description="of a grasp")
    band_m: float = Field(0.005, gt=0, le=0.02, description="a wanted width that differs by less is no change")
    pause_s: float = Field(0.5, ge=0.5, le=5, description="between two goals, at least")
    patience_s: float = Field(5.0, gt=0.5, le=60, description="after which a goal that did not end has failed")


class RecoveryConfig(Model):
    """Bounds of what a person may ask a Franka to recover from."""

    step_s: float = Field(10.0, gt=0, le=60, description="that one step of a recovery may take")
    per_episode: int = Field(2, ge=0, le=2)
    per_hour: int = Field(5, ge=0, le=5)
    controllers: tuple[str, ...] = Field(
        ("joint_state_broadcaster", "franka_robot_state_broadcaster", "joint_trajectory_controller"),
        min_length=1,
        description="that have to be active afterwards, and in a pre-flight; with CRISP its own instead of the last",
    )


class FrankaConfig(NodeConfig):
    hand: Literal["franka", "gripper_action", "crisp"] = Field(
        "franka",
        description="who takes goals: franka_gripper's own actions, its GripperCommand, or CRISP's controller. Prefer "
        "franka: gripper_action keeps no grasp unless franka_gripper has 0.08 for its parameters "
        "default_grasp_epsilon.inner and default_grasp_epsilon.outer",
    )
    goals: HandConfig = HandConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    silence_s: float = Field(1.0, gt=0.05, le=10, description="of the robot's state, after which its mode is unknown")


class RewardTraining(Model):
    """From episodes that a person labelled to a classifier of frames; `tmrl reward train`."""

    positives: int = Field(3, ge=1, le=100, description="last frames of a success that show it")
    margin: int = Field(10, ge=0, le=1000, description="frames before those that count as neither")
    success_at: float = Field(0.9, gt=0.5, lt=1, description="probability from which a frame shows success")
    failure_at: float = Field(0.1, gt=0, le=0.5, description="up to which it shows none; between the two: unknown")
    held_out: float = Field(0.25, gt=0, lt=1, description="share of the episodes that are judged, not trained on")
    precision_min: float = Field(0.95, gt=0, le=1, description="on held-out episodes, or nothing is written")
    recall_min: float = Field(0.5, gt=0, le=1, description="the same of the frames that show success")
    steps: int = Field(600, ge=1)
    batch: int = Field(64, ge=2)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    embedding: int = Field(32, ge=2, le=1024)
    encoder_width: int = Field(32, ge=16, le=1024, multiple_of=4)
    width: int = Field(64, ge=4, le=2048, description="of the hidden layer behind the encoders")
    shift_px: int = Field(2, ge=0, le=32, description="images are shifted by up to so much in training")
    brightness: float = Field(0.2, ge=0, lt=1, description="and darkened or lightened by up to this share")


class RewardConfig(NodeConfig):
    """The classifier as a source of `task_state`."""

    classifier: str = Field("", description="folder that `tmrl reward train` wrote")
    frames: int = Field(5, ge=1, le=100, description="that are looked back on")
    needed: int = Field(4, ge=1, le=100, description="of those that have to show success")
    training: RewardTraining = RewardTraining()


class Resume(Model):
    """What a session that goes on had used and counted when it was stopped; see session/resume.py."""

    robot_time_s: float = Field(0.0, ge=0)
    next_episode: int = Field(0, ge=0, description="index of the first episode to come: it names a start state")
    decisions: int = Field(0, ge=0, description="number of the first decision to come")
    episodes: int = Field(0, ge=0, description="counted ones that ended")
    successes: int = Field(0, ge=0, description="of those")
    holds: int = Field(0, ge=0)


class SupervisorConfig(NodeConfig):
    mode: Literal["collect", "evaluate", "finetune"] = "finetune"
    limits: SafetyLimits = SafetyLimits()
    session_min: float = Field(60.0, gt=0, le=24 * 60, description="robot time of a finetune session, resets included")
    episodes: int = Field(80, ge=1, description="kept episodes of a collect session, episodes of an evaluation")
    greedy_share: float = Field(0.5, ge=0, le=1, description="share of training episodes run deterministically")
    start_stream: int = Field(0, ge=0, description="names an independent stream of start states for the same seed")
    judge: Literal["source", "operator"] = Field(
        "source", description="who says success: task_state, or a person alone, who keeps an episode or labels it"
    )
    placing: Literal["service", "operator", "nobody"] = Field(
        "service", description="who puts objects back in a reset: reset_objects, a person who confirms, or nobody"
    )
    reset_failures: int = Field(3, ge=1, description="failed resets in a row that end the session")
    auto_resume_s: float = Field(
        0.0, ge=0, le=60, description="robot time after which a hold resumes; 0: a person does"
    )
    autostart: bool = Field(False, description="start the session by itself, once the nodes it needs are there")
    needs: str = Field("", description="names of nodes to wait for before that, separated by spaces")
    attended: bool = Field(
        False, description="an operator has to be there to start, to resume and all along: 2 s without one hold"
    )
    resume: Resume = Resume()


class BaseConfig(Model):
    """The frozen flow policy and its pre-training."""

    kind: Literal["csp", "plain"] = "csp"
    width: int = Field(128, ge=16, le=2048)
    layers: int = Field(3, ge=1, le=24)
    euler_steps: int = Field(5, ge=1, le=100)
    steps: int = Field(4000, ge=1)
    batch: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    clean_share: float = Field(0.5, ge=0, le=1, description="share of pre-training samples at sigma = 0")
    schedule: Literal["cosine", "ddpm"] = "cosine"
    context_scale: float = Field(2.0, gt=0, description="standardised context is multiplied by this")
    smooth: str = Field(
        "all",
        pattern=r"\S",
        description="what smoothing corrupts: all, or inputs, beginnings of state names, state[4:7], by spaces",
    )
    cloud_from: str = Field(
        "",
        max_length=64,
        description="a position in the state, such as tcp_position, that clouds are seen from; empty: as they are",
    )
    embedding: int = Field(32, ge=2, le=1024, description="size of what an encoder makes of a cloud or an image")
    encoder_width: int = Field(64, ge=16, le=1024, multiple_of=4)
    actor_sees: Literal["embedding", "pooled"] = Field(
        "embedding",
        description="what actor and critics see of a cloud or an image: what smoothing corrupts, or beside it all that "
        "the encoder makes that of",
    )
    image_shift_px: int = Field(0, ge=0, le=64, description="pre-training moves images at random, at most so far")
    encoder_sees_state: bool = Field(False, description="so that an embedding can hold places as seen from the hand")


class ActorConfig(Model):
    """Bounds of the modulation are safety parameters: they bound how far the actor can steer the base."""

    heads: str = Field(
        "",
        pattern=r"^((z|sigma|context_noise|residual|action)( |$))*$",
        description="what the actor chooses, separated by spaces; empty: as the method says",
    )
    z_max: float = Field(1.5, gt=0, le=3)
    z_chunk: bool = Field(False, description="one z per row of the chunk rather than one repeated")
    sigma_max: float = Field(0.3, gt=0, le=1)
    sigma_start: float = Field(0.15, ge=0, le=1, description="where the sigma head starts, or sigma without that head")
    context_noise_max: float = Field(1.0, gt=0, le=3, description="of each dimension; unit noise was pre-trained")
    residual_max: float = Field(0.1, gt=0, le=1, description="of each dimension of an action row")
    residual_chunk: bool = Field(False, description="one residual per executed row rather than one repeated")
    coherence: float = Field(
        0.0, ge=0, le=1, description="share of the exploration's variance that one episode keeps for all its decisions"
    )
    bounds_start: float = Field(1.0, gt=0, le=1, description="share of all bounds that is open at the first decision")
    bounds_decisions: int = Field(0, ge=0, description="decisions over which the bounds open")
    candidates: int = Field(8, ge=1, le=256, description="samples of which the critics pick the best when greedy")
    explored: int = Field(1, ge=1, le=256, description="the same when exploring; 1: a plain sample")
    width: int = Field(128, ge=16, le=2048)
    layers: int = Field(2, ge=1, le=8, description="hidden layers of actor and critics, each of that width")


class SacConfig(Model):
    """Soft actor-critic over (z, sigma), one action a decision."""

    discount: float = Field(0.97, gt=0, lt=1, description="per decision")
    critics: int = Field(2, ge=2, le=20, description="ensemble")
    target_critics: int = Field(0, ge=0, le=20, description="drawn anew for each target's minimum; 0: all of them")
    actor_q: Literal["min", "mean"] = Field("min", description="over the ensemble, in the actor's loss")
    entropy_backup: bool = Field(False, description="the target counts the entropy to come")
    batch: int = Field(128, ge=2)
    learning_rate: float = Field(1e-3, gt=0, le=0.1)
    polyak: float = Field(0.01, gt=0, le=1)
    target_period: int = Field(
        1, ge=1, description="updates after which targets (and the actor's average) follow, then for all of them"
    )
    actor_average: float = Field(0.005, gt=0, le=1, description="rate at which the acting average follows the actor")
    updates_per_decision: int = Field(15, ge=1, le=1000)
    actor_period: int = Field(2, ge=1, description="critic updates an actor update")
    target_entropy: float = Field(-0.7, le=0, description="per modulation dimension, nats")
    temperature: float = Field(0.1, gt=0, description="start value, one for each head")
    success_share: float = Field(0.5, ge=0, lt=1, description="of each batch, drawn from successful episodes")
    demo_share: float = Field(0.0, ge=0, lt=1, description="of each batch, drawn from demonstrations")
    warmup_episodes: int = Field(10, ge=0, description="episodes before the first update, z ~ N(0, I)")
    capacity: int = Field(100_000, ge=100, description="decisions in the replay ring")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of matrix products; weights are float32")


class PretrainConfig(NodeConfig):
    """Of `tmrl pretrain`; the section `pretrain` of a parameter file."""

    policy: BaseConfig = BaseConfig()


Method = Literal["base", "tmrl", "dsrl", "rfs", "residual", "rlpd"]


class MethodFacts(NamedTuple):
    """What sets a method apart: the heads of its actor, its base, and settings that differ from the defaults."""

    heads: str
    base_kind: Literal["csp", "plain"] = "plain"
    learner: Mapping[str, Any] = MappingProxyType({})  # of LearnerConfig, nested


METHODS: dict[str, MethodFacts] = {
    "base": MethodFacts(""),
    "tmrl": MethodFacts("z sigma", "csp"),  # arXiv 2605.12236
    "dsrl": MethodFacts("z"),  # arXiv 2506.15799
    "rfs": MethodFacts("z residual"),  # arXiv 2602.01789, its online form
    "residual": MethodFacts("residual"),
    "rlpd": MethodFacts(  # arXiv 2302.02948
        "action",
        learner={
            "sac": {
                "critics": 10,
                "target_critics": 2,
                "actor_q": "mean",
                "entropy_backup": True,
                "updates_per_decision": 20,
                "demo_share": 0.5,
                "success_share": 0.0,
                "warmup_episodes": 0,
            }
        },
    ),
}


class Versions(Model):
    """How actor versions travel; in lockstep their age is exact, so that a seed gives one session."""

    period: int = Field(4, ge=1, description="decisions an actor version")
    lag: int = Field(
        4, ge=0, description="lockstep: age in decisions of the actor in use, so that learning overlaps acting"
    )


class SteeringConfig(NodeConfig):
    """What policy and learner must agree on."""

    method: Method = "tmrl"
    base: str = Field("", description="folder of the pre-trained base policy")
    modulation: ActorConfig = ActorConfig()
    versions: Versions = Versions()

    @property
    def steering(self) -> ActorConfig:
        """The modulation that the method learns; without CSP there is no sigma but 0."""
        update = {"heads": self.modulation.heads or METHODS[self.method].heads}
        if METHODS[self.method].base_kind == "plain":
            update["sigma_start"] = 0.0
        return self.modulation.model_copy(update=update)


class PolicyConfig(SteeringConfig):
    actor: str = Field("", description="folder of an actor checkpoint; empty: the prior, z ~ N(0, I)")
    state_names: str = Field(
        "", description="of what perception publishes, separated by spaces, as the session's graph says; empty: unknown"
    )
    wait_for_learner: bool = Field(False, description="lockstep: act with exactly the actor version that is due")


class OfflineConfig(Model):
    """TD3+BC (arXiv 2106.06860) on stored actions; batch, rates and discount are those of SacConfig."""

    updates: int = Field(5000, ge=1)
    alpha: float = Field(0.1, ge=0, description="weight of the critics against imitation; 0 imitates alone")
    target_noise: float = Field(0.2, ge=0, le=1, description="standard deviation on the target's u")
    target_noise_max: float = Field(0.5, ge=0, le=1)


class LearnerConfig(SteeringConfig):
    sac: SacConfig = SacConfig()
    offline: OfflineConfig = OfflineConfig()
    demos: str = Field("", description="demonstration store; needed where sac.demo_share > 0")
    corrections: str = Field(
        "", description="store of a person's episodes at deployment, learned from before the session"
    )
    corrections_updates: int = Field(500, ge=0, description="updates on them before the first decision")
    relabel_error: float = Field(
        0.25, ge=0, description="largest rms, in action units, from what a person did to the nearest chunk of the base"
    )
    checkpoint: str = Field("", description="folder for checkpoints; the newest valid one there is resumed")
    checkpoint_episodes: int = Field(10, ge=1, description="episodes a checkpoint")
    log_sync_s: float = Field(
        1.0, ge=0, le=60, description="wall time between syncs of the log of transitions: what a power cut can cost"
    )
    catch_up: str = Field("", description="bag of the session that goes on: its decisions that were not learned from")


class RecorderConfig(NodeConfig):
    bag: str = Field("", description="folder of the MCAP bag to write")
    resume: bool = Field(False, description="go on with a bag that is there, in another file, rather than refuse it")
    topics: tuple[str, ...] = Field(
        (
            "observation",
            "decision_request",
            "action_chunk",
            "decision",
            "episode_event",
            "session_status",
            "actor_update",
            "joy",
            "joint_trajectory_controller/joint_trajectory",
        ),
        description="names from nodes/topics.py, a camera's, others as NAME:=package/msg/Type, or all: every one of "
        "nodes/topics.py; a session can be rebuilt from the first seven",
    )
    segment_s: float = Field(300.0, ge=0, description="of the messages' time in a file, then the next; 0: one file")
    compression: Literal["zstd", "lz4", "none"] = Field("zstd", description="of chunks, without loss")
    sync_s: float = Field(1.0, gt=0, le=60, description="wall time between syncs: what a power cut can cost")
    limit_gb: float = Field(0.0, ge=0, description="size at which the bag is closed and recording ends; 0: none")
    free_gb: float = Field(1.0, ge=0, description="room on the disk at which the same happens")
    parameters: str = Field("", description="file to put into the bag; empty: none")
    calibration: str = Field("", description="the same of the cameras' calibration")


class PlayerConfig(NodeConfig):
    """Plays a bag into other nodes."""

    bag: str = Field("", description="folder or file to play")
    nodes: str = Field("", description="names of nodes under test, by spaces: what they publish is not played")
    rate: float = Field(1.0, gt=0, le=1000, description="of the recorded speed; slower where nodes take longer")
    topics: str = Field("", description="recorded names to play, separated by spaces; empty: all")
    remap: str = Field("", description="names to play under, FROM:=TO, separated by spaces")
    patience_s: float = Field(10.0, gt=0, le=600, description="wall time for which a recorded answer is waited for")
    back_s: float = Field(1.0, ge=0, description="by how much stamps may go back before another session begins")
    result: str = Field("", description="file for what the comparison came to; empty: the log alone")


def validate(model, values: dict[str, Any]):
    """Build `model` from nested `values`, or raise ConfigError naming each bad key, its value and what is valid."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_sentence(model, entry) for entry in error.errors())) from None


def _sentence(model, entry) -> str:
    *path, last = entry["loc"] or ("",)
    name = ".".join(str(part) for part in entry["loc"])
    if entry["type"] != "extra_forbidden":
        return f"{model.__name__}: {shown(name)[1:-1]} = {shown(entry['input'])}: {entry['msg']}"
    parts = iter(path)
    for part in parts:
        model = model.model_fields[part].annotation
        if get_origin(model) is dict:  # entries by name, such as cameras
            model, _ = get_args(model)[1], next(parts, None)
    known = sorted(model.model_fields)
    near = difflib.get_close_matches(str(last), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"valid: {', '.join(known)}"
    return f"{shown(name)[1:-1]} is not a parameter of {model.__name__}; {hint}"
