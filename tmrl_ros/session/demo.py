"""The main job: collect, pre-train, evaluate, fine-tune for a robot-hour, evaluate again, report.

Every phase is a session over ROS of its own in runs/<name>/<phase>/, with its bag, logs and parameters. A phase that is
done is not done again, so a job that was stopped goes on where it was.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tmrl_ros.config import METHODS, BaseConfig, Timing, validate
from tmrl_ros.data import store
from tmrl_ros.data.assembler import demonstrations
from tmrl_ros.errors import DataError
from tmrl_ros.nodes.replay import metrics, records
from tmrl_ros.parameters import read_parameters, write_parameters
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.policy.dial import measure_dial
from tmrl_ros.session import graph, pretrain, runlog, starter, summary
from tmrl_ros.session.frames import film_first_episode
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.session.progress import SessionProgress
from tmrl_ros.session.report import write_report
from tmrl_ros.types import EpisodeEvent

RUNS = Path("runs")
DEMO_STREAM, TRAIN_STREAM, FRESH_STREAM = 0, 1, 2  # start states of demonstrations, training and both evaluations
DIAL_STATES = 16  # observations at which the dial is measured
ACTION_NAMES = ["tcp_displacement_x", "tcp_displacement_y", "tcp_displacement_z", "grip"]


@dataclass(frozen=True)
class Job:
    """What `tmrl demo` was asked for."""

    task: str = "pick_cube"
    method: str = "tmrl"
    seed: int = 0
    minutes: float = 60.0
    bias_cm: float = 5.0
    demos: int = 80
    episodes: int = 100
    name: str = ""
    in_process: bool = False

    @property
    def folder(self) -> Path:
        return RUNS / (self.name or f"{self.task}_{self.method}_{self.seed}")


def run(**wishes) -> Path:
    """Do the job and return the path of its report; `wishes` are the fields of Job."""
    job, console = Job(**wishes), Console()
    run_dir = job.folder.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    _claim(run_dir, job)
    phases = {
        "collect": collect,
        "pretrain": pretrain_base,
        "base": evaluate_base,
        "finetune": finetune,
        "final": evaluate_final,
        "pictures": pictures,
    }
    for number, (name, phase) in enumerate(phases.items(), 1):
        _once(console, run_dir, f"[{number}/{len(phases)}] {name}", name, lambda phase=phase: phase(job, run_dir))
    result = _summarise(job, run_dir)
    report = write_report(run_dir)
    base, final = result["base_success"], result["final_success"]
    console.print(
        f"success {base['value']:.2f} before, {final['value']:.2f} after {result['robot_minutes']:.0f} robot minutes "
        f"at {result['real_time_factor']:.0f} times real time"
    )
    console.print(f"report: {report.as_uri()}")
    return report


def collect(job: Job, run_dir: Path) -> None:
    """Demonstrations by the scripted teleoperator, on the same path as a person's, from the bag into the store."""
    heard = _session(job, run_dir, "collect", "collect", episodes=job.demos, bias_cm=0.0, start_stream=DEMO_STREAM)
    kept, dropped = demonstrations(heard, Timing().execution_horizon)
    if len(kept) < job.demos:
        raise DataError(
            f"{len(kept)} of {job.demos} demonstrations are whole ({dict(dropped)}); see {run_dir / 'collect/logs'}"
        )
    meta = store.StoreMeta(
        task=job.task,
        seed=job.seed,
        calibration="true",
        state_names=STATE_NAMES,
        action_names=ACTION_NAMES,
        action_hz=Timing().action_hz,
    )
    shutil.rmtree(run_dir / "demos.zarr", ignore_errors=True)
    store.write(run_dir / "demos.zarr", store.collect([(episode.states, episode.actions) for episode in kept], meta))


def pretrain_base(job: Job, run_dir: Path) -> None:
    """CSP for TMRL, a plain flow for DSRL; and the check that the dial does something."""
    shutil.rmtree(run_dir / "base_policy", ignore_errors=True)
    config = BaseConfig(kind=METHODS[job.method].base_kind)
    policy = pretrain.run(run_dir / "demos.zarr", run_dir / "base_policy", job.seed, config)
    states, chunks = store.chunks(store.read(run_dir / "demos.zarr"), policy.horizon)
    every = max(1, len(states) // DIAL_STATES)
    (run_dir / "dial.json").write_text(json.dumps(measure_dial(policy, states[::every], chunks)))


def evaluate_base(job: Job, run_dir: Path) -> None:
    """The base alone, meeting the knocked camera."""
    _session(job, run_dir, "base", "evaluate", method="base", episodes=job.episodes, start_stream=FRESH_STREAM)


def finetune(job: Job, run_dir: Path) -> None:
    """The robot-hour; resets and holds count."""
    shutil.rmtree(run_dir / "finetune", ignore_errors=True)
    (run_dir / runlog.METRICS).unlink(missing_ok=True)
    heard = _session(job, run_dir, "finetune", "finetune", minutes=job.minutes, start_stream=TRAIN_STREAM)
    runlog.append(run_dir / runlog.METRICS, [row for row in heard if isinstance(row, dict) and len(row) > 1])
    shutil.copyfile(run_dir / "finetune/parameters.yaml", run_dir / "config.yaml")


def evaluate_final(job: Job, run_dir: Path) -> None:
    """The last actor on start states that neither demonstrations nor training had, the same as the base met."""
    actor = str(run_dir / "finetune/checkpoints/actor")
    _session(job, run_dir, "final", "evaluate", actor=actor, episodes=job.episodes, start_stream=FRESH_STREAM)


def pictures(job: Job, run_dir: Path) -> None:
    """The first fresh start state, before and after."""
    for phase, name in (("base", "before"), ("final", "after")):
        parameters = read_parameters(run_dir / phase / "parameters.yaml", graph.MODELS)
        nodes = {node: validate(graph.MODELS[node], parameters[node]) for node in ("sim", "policy", "supervisor")}
        film_first_episode(nodes, run_dir / "frames" / name)


def _session(job: Job, run_dir: Path, phase: str, kind: graph.Kind, **options) -> list:
    """One session in run_dir/<phase>; its decisions and episodes are logged, and its records returned."""
    folder = run_dir / phase
    shutil.rmtree(folder, ignore_errors=True)
    base = str(run_dir / "base_policy")
    shared = {"task": job.task, "method": job.method, "seed": job.seed, "bias_cm": job.bias_cm, "base": base}
    if kind == "finetune":
        shared["demos"] = str(run_dir / "demos.zarr")
    chosen = validate(graph.SessionOptions, {**shared, "run_dir": str(folder), **options})
    specs = graph.build(kind, chosen)
    with SessionProgress(kind, chosen) as progress:
        if job.in_process:
            heard = _without_ros(specs, folder, progress)
        else:
            starter.run_session(specs, folder, progress, progress.say)
            heard = [*records(folder / "bag"), *metrics(folder / "bag")]
    runlog.log_records(run_dir, phase, heard)
    return heard


def _without_ros(specs: list[graph.NodeSpec], folder: Path, progress: SessionProgress) -> list:
    """The same session in this process: no bag and no logs, half the processor time."""
    write_parameters(folder / "parameters.yaml", {spec.name: spec.parameters for spec in specs})
    heard = []

    def watch(record) -> None:
        heard.append(record | {"version": session.learner.version} if isinstance(record, dict) else record)
        if isinstance(record, EpisodeEvent):
            progress(session.supervisor.status())

    nodes = {spec.name: validate(graph.MODELS[spec.name], spec.parameters) for spec in specs}
    session = InProcessSession.of_nodes(nodes, watch)
    session.run()
    if session.learner:
        session.learner.save_actor(folder / "checkpoints/actor")
    return heard


def _once(console: Console, run_dir: Path, title: str, name: str, work: Callable[[], None]) -> None:
    """Do a phase unless it is done, and remember its wall time."""
    path = run_dir / "phases.json"
    wall_s = json.loads(path.read_text()) if path.exists() else {}
    if name in wall_s:
        console.print(f"{title}: done before")
        return
    console.print(title)
    start_s = time.monotonic()
    work()
    wall_s[name] = round(time.monotonic() - start_s, 1)
    path.write_text(json.dumps(wall_s))


def _claim(run_dir: Path, job: Job) -> None:
    """A run folder belongs to one job; another job in it is refused."""
    path, wanted = run_dir / "job.json", {k: v for k, v in vars(job).items() if k not in ("name", "in_process")}
    if path.exists() and (found := json.loads(path.read_text())) != wanted:
        differing = ", ".join(f"{k} = {found.get(k)}" for k in wanted if found.get(k) != wanted[k])
        raise DataError(f"{run_dir} holds another job ({differing}); choose another --name or remove the folder")
    path.write_text(json.dumps(wanted))


def _summarise(job: Job, run_dir: Path) -> dict:
    events = {phase: runlog.episode_events(run_dir, phase) for phase in ("base", "finetune", "final")}
    updates = [row["learner/updates"] for row in runlog.read(run_dir / runlog.METRICS) if "learner/updates" in row]
    result = summary.summarise(
        task=job.task,
        method=job.method,
        seed=job.seed,
        demos=job.demos,
        base=events["base"],
        training=events["finetune"],
        final=events["final"],
        updates=int(max(updates, default=0)),
        wall_s=json.loads((run_dir / "phases.json").read_text()),
        revision=summary.git_revision(Path(__file__).parent),
    )
    result["ran"] = "in one process" if job.in_process else "over ROS"
    summary.write(run_dir, result)
    return result
