"""The run files of a finetune session out of its bag, so that a session on a robot has the report of `tmrl demo`."""

import shutil
from pathlib import Path

from tmrl_ros.config import validate
from tmrl_ros.errors import DataError
from tmrl_ros.nodes import replay as recorded
from tmrl_ros.parameters import read_parameters
from tmrl_ros.policy.base import FORMAT as BASE_FORMAT
from tmrl_ros.policy.checkpoint import read_checkpoint
from tmrl_ros.session import graph, runlog, summary


def write(run: Path, before: Path | None = None, after: Path | None = None) -> None:
    """Write summary.json and the row files into `run`, the session's folder, from its bag and its parameters.

    `before` and `after` are folders of evaluate sessions: of the base policy, and of what was learned. Raises DataError
    if a folder holds no bag, or `run` no parameters of a learner.
    """
    sessions = {"finetune": run, "base": before, "final": after}
    bags = {phase: _bag(folder) for phase, folder in sessions.items() if folder}
    parameters = run / "parameters.yaml"
    nodes = read_parameters(parameters, graph.MODELS) if parameters.is_file() else {}
    if "learner" not in nodes:
        raise DataError(f"{parameters} names no learner; give the folder of a finetune session")
    learner = validate(graph.MODELS["learner"], nodes["learner"])
    for phase, bag in bags.items():
        runlog.log_records(run, phase, recorded.records(bag))
    (run / runlog.METRICS).unlink(missing_ok=True)
    rows = [row for row in recorded.metrics(bags["finetune"]) if len(row) > 1]
    runlog.append(run / runlog.METRICS, rows)
    shutil.copyfile(parameters, run / "config.yaml")
    base = Path(learner.base)
    events = {phase: runlog.episode_events(run, phase) for phase in sessions}
    result = summary.summarise(
        task=learner.task.name,
        method=learner.method,
        seed=learner.seed,
        demos=read_checkpoint(base, BASE_FORMAT)[1].get("demonstrations", 0) if base.is_dir() else 0,
        base=events["base"],
        training=events["finetune"],
        final=events["final"],
        updates=int(max((row.get("learner/updates", 0) for row in rows), default=0)),
        wall_s={},
        revision=summary.git_revision(Path(__file__).parent),
    )
    summary.write(run, result)


def _bag(folder: Path) -> Path:
    if not (folder / "bag").is_dir():
        raise DataError(f"{folder} holds no bag; give the run_dir of a session that was recorded")
    return folder / "bag"
