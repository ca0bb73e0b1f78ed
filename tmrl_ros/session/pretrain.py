"""Demonstration store in, base policy out, with progress."""

from pathlib import Path

from tmrl_ros.config import PretrainConfig
from tmrl_ros.data import store
from tmrl_ros.errors import DataError
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.session.progress import update_progress


def run(demos: Path, out: Path, config: PretrainConfig) -> BasePolicy:
    """Train on the store `demos` and write the policy to the folder `out`, which must not exist yet."""
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    demonstrations = store.read(demos)
    _, chunks = store.chunks(demonstrations, config.timing.action_horizon)
    title = f"pretrain {config.policy.kind} on {len(demonstrations.ends)} demonstrations"
    with update_progress(title, config.policy.steps, "pretrain/loss") as show:
        seen = demonstrations.inputs()
        policy = pretrain(seen, chunks, config.policy, config.seed, show, demonstrations.meta.state_names)
    policy.save(
        out, {"task": demonstrations.meta.task, "demonstrations": len(demonstrations.ends), "seed": config.seed}
    )
    return policy
