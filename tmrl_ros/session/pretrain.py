"""Demonstration store in, base policy out, with progress."""

from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tmrl_ros.config import BaseConfig, Timing
from tmrl_ros.data import store
from tmrl_ros.errors import DataError
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.pretrain import pretrain

EVERY = 50  # update steps between two looks at the loss


def run(demos: Path, out: Path, seed: int = 0, config: BaseConfig | None = None) -> BasePolicy:
    """Train on the store `demos` and write the policy to the folder `out`, which must not exist yet."""
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    config = config or BaseConfig()
    demonstrations = store.read(demos)
    states, chunks = store.chunks(demonstrations, Timing().action_horizon)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[say]}")
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task(
            f"pretrain {config.kind}", total=config.steps, say=f"{len(demonstrations.ends)} demonstrations"
        )

        def show(step: int, info: dict) -> None:
            if step % EVERY == 0:
                bar.update(task, completed=step, say=f"loss {float(info['pretrain/loss']):.3f}")

        policy = pretrain({"state": states}, chunks, config, seed, show)
    policy.save(out, {"task": demonstrations.meta.task, "demonstrations": len(demonstrations.ends), "seed": seed})
    return policy
