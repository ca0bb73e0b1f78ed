"""`tmrl train` and `tmrl evaluate`: learning and measuring in this process, from the same configuration files."""

import json
from pathlib import Path
from typing import Any

from tmrl_ros.config import METHODS, LearnerConfig, validate
from tmrl_ros.data import store
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.learner import offline as learning
from tmrl_ros.learner.core import FREE, LEARNER_FORMAT
from tmrl_ros.parameters import merged, write_parameters
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint
from tmrl_ros.session import graph, phases, runlog, summary
from tmrl_ros.session.phases import FRESH_STREAM, TRAIN_STREAM, Job
from tmrl_ros.session.progress import update_progress

ONE_SOURCE = (
    "offline learning needs one source: --demos STORE, or --checkpoint of a session's learner (both only where its "
    "method keeps learning from demonstrations: rlpd)"
)


def online(
    base: Path, out: Path, method: str, demos: str, minutes: float, task: str, bias_cm: float, seed: int, file: str
) -> None:
    """Fine-tune `base` for `minutes` of simulated robot time; out/finetune/checkpoints/actor is the outcome."""
    _fresh(out)
    job = Job(task=task, method=method, seed=seed, minutes=minutes, bias_cm=bias_cm, params_file=file, in_process=True)
    options = {"base": str(base), "demos": demos, "minutes": minutes, "start_stream": TRAIN_STREAM}
    phases.run_session(job, out, "finetune", "finetune", **options)


def offline(base: Path, out: Path, method: str, demos: str, checkpoint: str, seed: int, file: str) -> None:
    """Learn from stored actions (`demos`) or from a session's experience (`checkpoint`); out/actor is the outcome.

    The experience of a method that keeps learning from demonstrations needs those as well.
    """
    if not (demos or checkpoint):
        raise ConfigError(ONE_SOURCE)
    values = {"method": method, "base": str(base), "demos": demos}
    config = graph.section("learner", file, seed=seed, **merged(METHODS[method].learner, values))
    if checkpoint:  # learned under its own settings; those of offline learning are new
        own = read_checkpoint(Path(checkpoint), LEARNER_FORMAT)[1]["config"]
        config = validate(LearnerConfig, own | config.model_dump(include=FREE))
        if demos and not config.sac.demo_share:
            raise ConfigError(ONE_SOURCE)
    policy = BasePolicy.load(base)
    _fresh(out)
    with update_progress(f"{method} offline", config.offline.updates) as progress:
        stored = store.read_named(demos)
        if checkpoint:
            learning.from_experience(config, policy, Path(checkpoint), out / "actor", progress, stored)
        else:
            learning.from_actions(config, policy, stored, out / "actor", progress)
    write_parameters(out / "parameters.yaml", {"learner": config.model_dump(mode="json")})


def evaluate(
    base: Path, out: Path, actor: str, method: str, episodes: int, task: str, bias_cm: float, seed: int, file: str
) -> dict[str, Any]:
    """Success with its 95 % interval over `episodes` fresh start states; also in out/success.json."""
    _fresh(out)
    job = Job(task=task, method=method, seed=seed, bias_cm=bias_cm, params_file=file, in_process=True)
    options = {"base": str(base), "actor": actor, "episodes": episodes, "start_stream": FRESH_STREAM}
    phases.run_session(job, out, "final", "evaluate", **options)
    rate = summary.success(runlog.episode_events(out, "final"))
    (out / "success.json").write_text(json.dumps(rate))
    return rate


def _fresh(out: Path) -> None:
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
