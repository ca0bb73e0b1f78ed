"""The phases of a run: collect, pre-train, evaluate, fine-tune, each a session of its own in run_dir/<phase>/.

`tmrl demo` strings them together, benchmarks run some of them; over ROS or, with `in_process`, in this process.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tmrl_ros.config import METHODS, Method, validate
from tmrl_ros.data import store
from tmrl_ros.errors import DataError
from tmrl_ros.nodes.replay import metrics, records
from tmrl_ros.parameters import merged, nested, write_parameters
from tmrl_ros.policy.dial import measure_dial
from tmrl_ros.session import graph, pretrain, runlog, starter
from tmrl_ros.session.collected import from_records
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.session.progress import SessionProgress
from tmrl_ros.session.seeing import calibrated
from tmrl_ros.types import EpisodeEvent

DEMO_STREAM, TRAIN_STREAM, FRESH_STREAM = 0, 1, 2  # start states of demonstrations, training and both evaluations
CAMERA_KNOCK = (1.0, 0.0, 0.0)  # of a rendered camera's motion, base frame, unit length: away from the robot
CORRECTIONS = "corrections.zarr"  # a person's episodes at deployment, in the run's folder
CALIBRATION = "calibration.json"  # of the simulated camera, in the run's folder
DIAL_STATES = 16  # observations at which the dial is measured


@dataclass(frozen=True)
class Job:
    """What the phases of one run share; defaults are those of `tmrl demo`."""

    task: str = "pick_cube"
    method: Method = "tmrl"
    seed: int = 0
    minutes: float = 60.0
    bias_cm: float = 5.0
    observe: Literal["objects", "cloud", "image"] = "objects"  # by a tracker's positions, or through a rendered camera
    demos: int = 80
    corrections: int = 0  # episodes of a person's at deployment, with which fine-tuning begins
    episodes: int = 100
    params_file: str = ""
    in_process: bool = False
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by node name, as graph.build takes them

    @property
    def file(self) -> str:
        """The parameter file of what it observes, unless one was named."""
        if self.params_file or self.observe == "objects":
            return self.params_file
        return str(graph.parameters_file("").with_name(f"sim_{self.observe}.yaml"))


def collect(job: Job, run_dir: Path) -> None:
    """Demonstrations by the scripted teleoperator, on the same path as a person's, from the bag into demos.zarr."""
    before = replace(job, bias_cm=0.0, overrides={})  # whatever goes wrong at deployment
    calibration = "true" if job.observe == "objects" else _calibrate(job, run_dir)
    _collect(before, run_dir, "collect", run_dir / "demos.zarr", calibration, DEMO_STREAM)


def _calibrate(job: Job, run_dir: Path) -> str:
    """Where the camera stands at the demonstrations, into calibration.json; its id. Deployment goes on believing it."""
    sim, perception = (graph.section(name, job.file) for name in ("sim", "perception"))
    calibration = calibrated(sim, *perception.cameras)
    run_dir.mkdir(parents=True, exist_ok=True)
    calibration.write(run_dir / CALIBRATION)
    return calibration.id


def correct(job: Job, run_dir: Path) -> None:
    """The same at deployment, into CORRECTIONS: a person sees the scene, the policy what its camera tells it."""
    _collect(job, run_dir, "correct", run_dir / CORRECTIONS, "deployed", TRAIN_STREAM)


def _collect(job: Job, run_dir: Path, phase: str, path: Path, calibration: str, start_stream: int) -> None:
    heard = run_session(job, run_dir, phase, "collect", episodes=job.demos, start_stream=start_stream)
    supervisor = graph.section("supervisor", job.file, seed=job.seed, task={"name": job.task})
    perception = graph.section("perception", job.file)
    made, dropped = from_records(heard, supervisor, perception, calibration)
    if made is None or len(made.ends) < job.demos:
        whole = len(made.ends) if made else 0
        raise DataError(
            f"{whole} of {job.demos} demonstrations are whole ({dict(dropped)}); see {run_dir / phase / 'logs'}"
        )
    shutil.rmtree(path, ignore_errors=True)
    store.write(path, made)


def pretrain_base(job: Job, run_dir: Path) -> None:
    """CSP for TMRL, a plain flow for DSRL; and the check that the dial does something."""
    shutil.rmtree(run_dir / "base_policy", ignore_errors=True)
    kind = {"policy": {"kind": METHODS[job.method].base_kind}}
    config = graph.section("pretrain", job.file, seed=job.seed, **kind)
    policy = pretrain.run(run_dir / "demos.zarr", run_dir / "base_policy", config)
    demos = store.read(run_dir / "demos.zarr")
    _, chunks = store.chunks(demos, policy.horizon)
    some = demos.inputs(slice(None, None, max(1, len(chunks) // DIAL_STATES)))
    (run_dir / "dial.json").write_text(json.dumps(measure_dial(policy, some, chunks)))


def evaluate_base(job: Job, run_dir: Path) -> None:
    """The base alone, meeting the knocked camera."""
    run_session(job, run_dir, "base", "evaluate", method="base", episodes=job.episodes, start_stream=FRESH_STREAM)


def finetune(job: Job, run_dir: Path) -> None:
    """The robot-hour; resets and holds count."""
    shutil.rmtree(run_dir / "finetune", ignore_errors=True)
    (run_dir / runlog.METRICS).unlink(missing_ok=True)
    options = {"minutes": job.minutes, "start_stream": TRAIN_STREAM}
    if job.corrections:
        correct(replace(job, demos=job.corrections), run_dir)
        options["corrections"] = str(run_dir / CORRECTIONS)
        job = _after_corrections(job, run_dir)
    if (run_dir / "demos.zarr").exists():
        options["demos"] = str(run_dir / "demos.zarr")
    heard = run_session(job, run_dir, "finetune", "finetune", **options)
    runlog.append(run_dir / runlog.METRICS, [row for row in heard if isinstance(row, dict) and len(row) > 1])
    shutil.copyfile(run_dir / "finetune/parameters.yaml", run_dir / "config.yaml")


def _after_corrections(job: Job, run_dir: Path) -> Job:
    """Robot time and start states go on from those of the person's episodes."""
    ended = [event for event in runlog.episode_events(run_dir, "correct") if event.kind == "ended"]
    used = {"robot_time_s": ended[-1].robot_time_s, "next_episode": ended[-1].episode + 1}
    return replace(job, overrides=merged(job.overrides, {"supervisor": {"resume": used}}))


def evaluate_final(job: Job, run_dir: Path) -> None:
    """The last actor on start states that neither demonstrations nor training had, the same as the base met."""
    actor = str(run_dir / "finetune/checkpoints/actor")
    run_session(job, run_dir, "final", "evaluate", actor=actor, episodes=job.episodes, start_stream=FRESH_STREAM)


def run_session(job: Job, run_dir: Path, phase: str, kind: graph.Kind, **options) -> list:
    """One session in run_dir/<phase>; its decisions and episodes are logged, and its records returned."""
    folder = run_dir / phase
    shutil.rmtree(folder, ignore_errors=True)
    shared = {name: getattr(job, name) for name in ("task", "method", "seed", "bias_cm")}
    shared |= {"base": str(run_dir / "base_policy"), "params_file": job.file}
    overrides = job.overrides
    if job.observe != "objects":
        shared["bias_cm"], overrides = 0.0, _through_camera(job, run_dir)
    chosen = validate(graph.SessionOptions, {**shared, "run_dir": str(folder), **options})
    specs = graph.build(kind, chosen, overrides)
    with SessionProgress(kind, chosen) as progress:
        if job.in_process:
            heard = _without_ros(specs, folder, progress)
        else:
            starter.run_session(specs, folder, progress, progress.say)
            heard = [*records(folder / "bag"), *metrics(folder / "bag")]
    runlog.log_records(run_dir, phase, heard)
    return heard


def _through_camera(job: Job, run_dir: Path) -> dict[str, dict[str, Any]]:
    """The job's overrides, the calibration, and the knock: the camera moves, and the calibration stays."""
    moved_m = [job.bias_cm / 100 * share for share in CAMERA_KNOCK]
    own = {
        "sim": {"shift": {"camera_moved_m": moved_m}},
        "perception": {"calibration": str((run_dir / CALIBRATION).resolve())},
    }
    return {name: merged(own.get(name, {}), nested(job.overrides.get(name, {}))) for name in {*own, *job.overrides}}


def _without_ros(specs: list[graph.NodeSpec], folder: Path, progress: SessionProgress) -> list:
    """The same session in this process: no bag and no logs, half the processor time."""
    heard = []

    def watch(record) -> None:
        heard.append(record | {"version": session.learner.version} if isinstance(record, dict) else record)
        if isinstance(record, EpisodeEvent):
            progress(session.supervisor.status())

    nodes = {spec.name: validate(graph.MODELS[spec.name], spec.parameters) for spec in specs}
    session = InProcessSession.of_nodes(nodes, watch)  # before the folder is made: what cannot be loaded leaves none
    write_parameters(folder / "parameters.yaml", {spec.name: spec.parameters for spec in specs})
    session.run()
    session.sim.close()
    if session.learner:
        session.learner.save_actor(folder / "checkpoints/actor")
    return heard
