"""The one description of the node graphs: which nodes a session has, and with which parameters.

`session/launching.py` turns it into launch_ros actions, `session/starter.py` into supervised processes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from tmrl_ros import config
from tmrl_ros.config import METHODS, Method, Model, SimulatedTask, TaskName, validate
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.parameters import merged, nested, read_parameters
from tmrl_ros.perception.state import published_names

Kind = Literal["collect", "evaluate", "finetune"]

MODELS = {
    "sim": config.SimConfig,
    "perception": config.PerceptionConfig,
    "policy": config.PolicyConfig,
    "supervisor": config.SupervisorConfig,
    "learner": config.LearnerConfig,
    "recorder": config.RecorderConfig,
    "teleop": config.TeleopConfig,
    "franka": config.FrankaConfig,
    "reward": config.RewardConfig,
    "crisp": config.CrispConfig,
}
SECTIONS = MODELS | {  # of a parameter file
    "pretrain": config.PretrainConfig,
    "realsense": config.RealSenseConfig,
}
PLAYING = {"player": config.PlayerConfig}
PLAYABLE = ("perception", "policy", "learner", "recorder", "supervisor", "teleop")
COMPARISON = "comparison.json"  # below the run_dir of a replay
LEARNER_RESTARTS = 3
KNOCK_DIRECTION = (-0.7071, 0.7071, 0.0)  # of the knocked camera's error, base frame, unit length


class ReplayOptions(Model):
    """Arguments of `ros2 launch tmrl_ros replay.launch.py` and of `tmrl up replay`, both as name:=value."""

    bag: str = Field("", description="bag to play: ours, or any MCAP or rosbag2 SQLite one; a folder or a file")
    nodes: str = Field("policy", description="which nodes to play into, separated by spaces or commas")
    rate: float = Field(1.0, gt=0, le=1000, description="of the recorded speed; time stands still for a slower node")
    topics: str = Field("", description="recorded names to play, separated by spaces or commas; empty: all")
    remap: str = Field("", description="names to play under: FROM:=TO, separated by spaces or commas")
    namespace: str = Field("", description="ROS namespace of every node")
    params_file: str = Field("", description="parameter file; empty: the one that the session left beside the bag")
    run_dir: str = Field("runs/replay", description="folder for logs, parameters, comparison.json and what nodes write")
    base: str = Field("", description="folder of the base policy; empty: where it was")
    patience_s: float = Field(10.0, gt=0, le=600, description="wall time for which a recorded answer is waited for")


class SessionOptions(Model):
    """Arguments of `ros2 launch tmrl_ros <kind>.launch.py` and of `tmrl up <kind>`, both as name:=value."""

    sim: bool = Field(True, description="simulate the robot; false: a real one, see robot_ip")
    controller: Literal["trajectory", "crisp"] = Field(
        "trajectory",
        description="on a robot: joint_trajectory_controller, or one of CRISP's that you start, for contact",
    )
    robot_ip: str = Field("", description="robot to start (launch only); empty: it runs, see robot.launch.py")
    use_fake_hardware: bool = Field(False, description="franka_bringup without a robot")
    namespace: str = Field("", description="ROS namespace of every node")
    params_file: str = Field("", description="parameter file; empty: config/sim.yaml or config/real.yaml")
    use_sim_time: bool = Field(
        False, description="nodes follow /clock; none has to, because data carries its own stamps"
    )
    run_dir: str = Field("runs/session", description="folder for the bag, checkpoints, logs and resolved parameters")
    device: Literal["auto", "script", "joy", "keyboard", "spacenav", "gamepad", "gello"] = Field(
        "auto",
        description="what a person holds: to collect with (auto: a script in simulation, joy on a robot), or to end an "
        "episode with, or to take the arm from the policy with, while it is fine-tuned or evaluated",
    )
    task: TaskName = Field("pick_cube", description="what the robot learns; simulated are pick_cube and push_cube")
    method: Method = Field("tmrl", description="how it learns; base: not at all")
    seed: int = Field(0, ge=0, description="of start states, exploration and learning")
    minutes: float = Field(60.0, gt=0, le=24 * 60, description="robot time of a finetune session, resets included")
    episodes: int = Field(80, ge=1, description="episodes of a collect or evaluate session")
    start_stream: int = Field(0, ge=0, description="independent stream of start states for the same seed")
    base: str = Field("", description="folder of the pre-trained base policy")
    demos: str = Field("", description="demonstration store, for methods that keep learning from it (rlpd)")
    corrections: str = Field("", description="store of a person's episodes at deployment, to begin learning with")
    actor: str = Field("", description="evaluate: folder of an actor checkpoint to act with; empty: the base alone")
    bias_cm: float = Field(0.0, ge=0, le=20, description="the knocked camera: error of every perceived position")
    real_time: bool = Field(False, description="pace the simulation by the wall clock")
    resume: bool = Field(False, description="go on with the finetune session that was stopped in run_dir")
    reward: str = Field("", description="on a robot: folder of the classifier that says success (`tmrl reward train`)")


class RobotOptions(Model):
    """Arguments of `ros2 launch tmrl_ros robot.launch.py`; those of franka_bringup have its names."""

    robot_ip: str = Field("", description="address of the robot")
    robot_type: str = Field("fr3", description="kind of the arm")
    namespace: str = Field("", description="ROS namespace of every node")
    use_fake_hardware: bool = Field(False, description="franka_bringup without a robot")
    load_gripper: bool = Field(True, description="the Franka hand is mounted, and starts too")
    controllers_yaml: str = Field("", description="parameters of the controllers; empty: config/controllers.yaml")
    controller: Literal["trajectory", "crisp"] = Field(
        "trajectory", description="which drives the arm; crisp: one of CRISP's that you start"
    )
    camera: bool = Field(False, description="start the node realsense too, with params_file")
    params_file: str = Field("", description="camera: parameter file of the cell, with the section realsense")


@dataclass(frozen=True)
class NodeSpec:
    """One node: `name` is its ROS name, its executable and its module in tmrl_ros.nodes."""

    name: str
    parameters: dict[str, Any] = field(hash=False)  # complete and validated, nested
    use_sim_time: bool = False
    restarts: int = 0  # how often it may die before the session ends


def node_names(kind: Kind, options: SessionOptions) -> list[str]:
    """Names in starting order."""
    own = {"crisp": options.controller == "crisp", "reward": bool(options.reward)}
    names = ["sim"] if options.sim else ["franka", *(name for name, wanted in own.items() if wanted)]
    names += ["perception", "recorder"]
    teleop = ["teleop"] if _device(options) != "joy" else []  # its driver alone is enough
    attended = teleop if options.device not in ("auto", "script") else []
    names += {"collect": teleop, "evaluate": ["policy", *attended], "finetune": ["policy", "learner", *attended]}[kind]
    return [*names, "supervisor"]


def build(kind: Kind, options: SessionOptions, overrides: dict[str, dict[str, Any]] | None = None) -> list[NodeSpec]:
    """The graph of a session: the file's parameters, then the options, then `overrides` by node name, validated.

    Raises ConfigError that names a key which no node has or a value that is unsafe.
    """
    if kind == "finetune" and options.method == "base":
        learning = ", ".join(name for name, facts in METHODS.items() if facts.heads)
        raise ConfigError(f"method base does not learn; finetune with one of {learning}")
    if kind == "finetune" and options.actor:  # its learner starts anew, and would replace it
        raise ConfigError(
            f"actor = {options.actor!r}: finetune does not begin with one; evaluate it (`tmrl up "
            "evaluate actor:=...`), or go on with the session that it is from (resume:=true, its run_dir, no actor)"
        )
    if options.sim and options.task not in get_args(SimulatedTask):
        raise ConfigError(
            f"task = {options.task!r} is not simulated, {' and '.join(get_args(SimulatedTask))} are; a robot takes any "
            "name, with sim:=false"
        )
    if options.reward and options.sim:
        raise ConfigError("reward is for a robot: a simulation knows itself what succeeds; leave it out")
    parameters = read_parameters(parameters_file(options.params_file, options.sim), SECTIONS)
    for name in node_names(kind, options):
        validate(MODELS[name], parameters[name])  # what an option overrides, too, must be sound
    derived = _derived(kind, options)
    limits = validate(config.SupervisorConfig, parameters["supervisor"]).limits
    derived["teleop"]["gello.step_m"] = limits.step_m  # both mean the same share
    derived["recorder"]["calibration"] = _absolute(parameters["perception"].get("calibration", ""))
    seen = merged(parameters["perception"], nested((overrides or {}).get("perception", {})))
    derived["policy"]["state_names"] = " ".join(published_names(validate(config.PerceptionConfig, seen)))
    going_on = _going_on(kind, options)
    specs = []
    for name in node_names(kind, options):
        preset = METHODS[options.method].learner if name == "learner" else {}
        given = merged(merged(preset, parameters[name]), nested(derived[name]))
        values = merged(given, nested((overrides or {}).get(name, {})))
        values = merged(values, nested(going_on.get(name, {})))
        model = validate(MODELS[name], values)
        restarts = LEARNER_RESTARTS if name == "learner" else 0
        specs.append(NodeSpec(name, model.model_dump(mode="json"), options.use_sim_time and name != "sim", restarts))
    return specs


def build_replay(options: ReplayOptions) -> list[NodeSpec]:
    """The nodes to play a bag into, with the parameters of its session, and the player; they follow its /clock.

    What nodes write goes to `run_dir`, never to where the session wrote.
    """
    names, run = _words(options.nodes), Path(options.run_dir).resolve()
    wrong = [name for name in names if name not in PLAYABLE]
    if wrong or not names:
        raise ConfigError(f"nodes = {options.nodes!r}: a bag is played into some of {', '.join(PLAYABLE)}")
    bag = Path(options.bag).resolve()
    if not options.bag or not bag.exists():
        raise DataError(
            f"bag {options.bag!r} does not exist; name a folder or file to play, bag:=runs/NAME/finetune/bag"
        )
    from tmrl_ros.session import recorded_settings  # reads bags: only where it is needed

    file = parameters_file(options.params_file)
    if options.params_file:
        parameters = read_parameters(file, SECTIONS | PLAYING)
    else:
        parameters = recorded_settings.parameters(bag, SECTIONS | PLAYING, otherwise=file)
    resumed = bool(parameters["recorder"].get("resume"))
    base = {"base": _absolute(options.base)} if options.base else {}
    own = {
        "policy": base | ({"actor": ""} if resumed else {}),  # that it went on with: the bag has its versions
        "learner": {**base, "checkpoint": str(run / "checkpoints"), "catch_up": ""},
        "recorder": {
            "bag": str(run / "bag"),
            "resume": False,
            "parameters": str(run / "parameters.yaml"),
            "calibration": "",
        },
        "player": {
            "bag": str(bag),
            "nodes": " ".join(names),
            "rate": options.rate,
            "topics": " ".join(_words(options.topics)),
            "remap": " ".join(_words(options.remap)),
            "patience_s": options.patience_s,
            "result": str(run / COMPARISON),
        },
    }
    specs = []
    for name in [*names, "player"]:
        values = merged(parameters[name], nested(own.get(name, {})))
        model = validate((MODELS | PLAYING)[name], values)
        specs.append(NodeSpec(name, model.model_dump(mode="json"), use_sim_time=name != "player"))
    return specs


def check_folders(specs: Sequence[NodeSpec]) -> None:
    """Raise where a folder to read is missing or one to write is there: what the nodes would say after their start."""
    for spec in specs:
        if spec.name == "reward" and not Path(folder := spec.parameters["classifier"]).is_dir():
            raise DataError(f"reward {folder} does not exist; give a folder that `tmrl reward train` wrote")
        for name in ("base", "actor") if spec.name in ("policy", "learner") else ():
            folder = spec.parameters.get(name)
            if name == "base" and not folder:
                raise ConfigError(f"{spec.name} needs a base policy; name its folder, base:=FOLDER (`tmrl pretrain`)")
            if folder and not Path(folder).is_dir():
                raise DataError(
                    f"{name} {folder} does not exist; give a folder that `tmrl pretrain` or a session wrote"
                )
        bag = spec.parameters.get("bag") if spec.name == "recorder" else ""
        if bag and Path(bag).exists() and not spec.parameters.get("resume"):
            raise DataError(f"bag {bag} already exists; choose another run_dir or remove it")


def section(name: str, params_file: str, **values: Any) -> Model:
    """One section of a parameter file (empty: config/sim.yaml), overlaid with `values` (nested), validated."""
    parameters = read_parameters(parameters_file(params_file), SECTIONS)[name]
    return validate(SECTIONS[name], merged(parameters, values))


def sections(params_file: str) -> dict[str, Model]:
    """Every section of a parameter file, validated: what no node reads today, the next session would refuse."""
    parameters, checked = read_parameters(parameters_file(params_file), SECTIONS), {}
    for name, model in SECTIONS.items():
        try:
            checked[name] = validate(model, parameters[name])
        except ConfigError as error:
            raise ConfigError(f"{params_file}, section {name}: {error}") from None
    return checked


def parameters_file(params_file: str, sim: bool = True) -> Path:
    """The file that was asked for, or the deployment's own."""
    if params_file:
        return Path(params_file)
    return shipped("sim.yaml" if sim else "real.yaml")


def shipped(name: str) -> Path:
    """A file of config/: in the source tree, or where colcon installed it."""
    here = Path(__file__).resolve()
    places = [here.parents[2] / "config", *(parent / "share/tmrl_ros/config" for parent in here.parents)]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise ConfigError(f"{name} is neither in the source tree nor installed; name a file with params_file")


def _derived(kind: Kind, options: SessionOptions) -> dict[str, dict[str, Any]]:
    """What the options say, by node and in dotted names."""
    run = Path(options.run_dir).resolve()
    shared = {"seed": options.seed, "task.name": options.task}
    real_time = options.real_time or _device(options) != "script"  # a person's time is real
    if options.sim:
        shared["timing.real_time"] = real_time
    lockstep_learning = kind == "finetune" and options.sim and not real_time
    alone = kind == "evaluate" and not options.actor  # the base: without an actor a method would act by its prior
    own = {
        "sim": {"shift.camera_bias_m": [options.bias_cm / 100 * share for share in KNOCK_DIRECTION]}
        if options.bias_cm
        else {},
        "perception": {},
        "recorder": {"bag": str(run / "bag"), "parameters": str(run / "parameters.yaml")},
        "teleop": _teleop(options),
        "franka": {},
        "crisp": {},
        "reward": {"classifier": _absolute(options.reward)},
        "policy": {
            "base": _absolute(options.base),
            "actor": _absolute(options.actor),
            "method": "base" if alone else options.method,
            "wait_for_learner": lockstep_learning,
        },
        "learner": {
            "base": _absolute(options.base),
            "method": options.method,
            "demos": _absolute(options.demos),
            "corrections": _absolute(options.corrections),
            "checkpoint": str(run / "checkpoints"),
        },
        "supervisor": {
            "mode": kind,
            "session_min": options.minutes,
            "episodes": options.episodes,
            "start_stream": options.start_stream,
            "autostart": options.sim,
            "judge": "source" if options.sim or options.reward else "operator",
            "needs": " ".join(node_names(kind, options)[:-1]) if options.sim else "",
        },
    }
    return {name: {**shared, **values} for name, values in own.items()}


def _going_on(kind: Kind, options: SessionOptions) -> dict[str, dict[str, Any]]:
    if not options.resume:
        return {}
    if kind != "finetune":
        raise ConfigError(
            f"resume goes on with finetune sessions alone; start the {kind} session again in a new run_dir"
        )
    from tmrl_ros.session import resume  # reads bags: only where it is needed

    return resume.overrides(Path(options.run_dir).resolve())


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _device(options: SessionOptions) -> str:
    if options.device == "auto":
        return "script" if options.sim else "joy"
    return options.device


def _teleop(options: SessionOptions) -> dict[str, Any]:
    """Nodes have no terminal of their own, so the keyboard is that of the terminal in which the session starts."""
    device = _device(options)
    if device != "keyboard":
        return {"device": device}
    try:
        return {"device": device, "terminal": os.ttyname(0)}
    except OSError:
        raise ConfigError("device:=keyboard needs a terminal; start the session in one") from None


def _absolute(folder: str) -> str:
    return str(Path(folder).resolve()) if folder else ""
