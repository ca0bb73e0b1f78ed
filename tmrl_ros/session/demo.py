"""The main job: collect, pre-train, evaluate, fine-tune for a robot-hour, evaluate again, report.

Every phase is a session over ROS of its own in runs/<name>/<phase>/, with its bag, logs and parameters. A phase that is
done is not done again, so a job that was stopped goes on where it was.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tmrl_ros.config import validate
from tmrl_ros.errors import DataError
from tmrl_ros.parameters import read_parameters
from tmrl_ros.session import graph, phases, runlog, summary
from tmrl_ros.session.frames import film_first_episode
from tmrl_ros.session.phases import Job
from tmrl_ros.session.report import write_report
from tmrl_ros.session.seen_pictures import write_seen

RUNS = Path("runs")


def run(name: str = "", **wishes) -> Path:
    """Do the job in runs/<name> and return the path of its report; `wishes` are the fields of Job."""
    job, console = Job(**wishes), Console()
    run_dir = (RUNS / (name or f"{job.task}_{job.method}_{job.seed}")).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    _claim(run_dir, job)
    steps = {
        "collect": phases.collect,
        "pretrain": phases.pretrain_base,
        "base": phases.evaluate_base,
        "finetune": phases.finetune,
        "final": phases.evaluate_final,
        "pictures": pictures,
    }
    for number, (step, work) in enumerate(steps.items(), 1):
        _once(console, run_dir, f"[{number}/{len(steps)}] {step}", step, lambda work=work: work(job, run_dir))
    result = _summarise(job, run_dir)
    report = write_report(run_dir)
    base, final = result["base_success"], result["final_success"]
    console.print(
        f"success {base['value']:.2f} before, {final['value']:.2f} after {result['robot_minutes']:.0f} robot minutes "
        f"at {result['real_time_factor']:.0f} times real time"
    )
    console.print(f"report: {report.as_uri()}")
    return report


def pictures(job: Job, run_dir: Path) -> None:
    """The first fresh start state, before and after; and what perception makes of it, where cameras look."""
    for phase, name in (("base", "before"), ("final", "after")):
        parameters = read_parameters(run_dir / phase / "parameters.yaml", graph.MODELS)
        wanted = ("sim", "perception", "policy", "supervisor")
        nodes = {node: validate(graph.MODELS[node], parameters[node]) for node in wanted}
        film_first_episode(nodes, run_dir / "frames" / name)
    if nodes["perception"].cameras:
        write_seen(nodes["sim"], nodes["perception"], phases.FRESH_STREAM, run_dir / "frames" / "seen")


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
    path, wanted = run_dir / "job.json", {k: v for k, v in vars(job).items() if k != "in_process"}
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
