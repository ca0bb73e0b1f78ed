"""Demonstration store in, base policy out, with progress. What the robot could not run as it was meant is refused."""

from pathlib import Path

import numpy as np

from tmrl_ros.config import PretrainConfig
from tmrl_ros.data import store
from tmrl_ros.errors import DataError
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.session.progress import update_progress
from tmrl_ros.types import ACTION_NAMES

ROUNDING = 1e-3  # by which an executed row may be beyond a full step


def run(demos: Path, out: Path, config: PretrainConfig) -> BasePolicy:
    """Train on the store `demos` and write the policy to the folder `out`, which must not exist yet."""
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    demonstrations = store.read(demos)
    _check_actions(demos, demonstrations)
    meta = demonstrations.meta
    _, chunks = store.chunks(demonstrations, config.timing.action_horizon)
    title = f"pretrain {config.policy.kind} on {len(demonstrations.ends)} demonstrations"
    with update_progress(title, config.policy.steps, "pretrain/loss") as show:
        seen = demonstrations.inputs()
        names = meta.state_names, meta.action_names
        policy = pretrain(seen, chunks, config.policy, config.seed, show, *names, meta.action_hz)
    policy.save(out, {"task": meta.task, "demonstrations": len(demonstrations.ends), "seed": config.seed})
    return policy


def _check_actions(path: Path, demonstrations: store.Demonstrations) -> None:
    """Raise DataError unless rows are TCP displacements in shares of a step, as a robot here runs them."""
    names, ours = demonstrations.meta.action_names, ", ".join(ACTION_NAMES)
    if tuple(names) != ACTION_NAMES:
        raise DataError(f"{path} holds the actions {', '.join(names)}, but a robot here acts by {ours}; record those")
    largest = np.abs(demonstrations.actions).max(0)
    if largest.max() > 1 + ROUNDING:
        raise DataError(
            f"{path}: {names[largest.argmax()]} reaches {largest.max():.3g}, but an action is a share of a step in "
            "[-1, 1]; divide displacements by limits.step_m"
        )
