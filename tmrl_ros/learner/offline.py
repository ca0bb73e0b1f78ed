"""Learning without a robot: from stored demonstrations or corrections, or on from what a session has experienced."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tmrl_ros.config import LearnerConfig
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import Learner
from tmrl_ros.learner.demos import Demonstrations, demo_replay, features_of
from tmrl_ros.learner.td3_bc import Td3Bc
from tmrl_ros.policy.actor_file import write_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering

Progress = Callable[[int, dict[str, float]], None]


def from_actions(config: LearnerConfig, base: BasePolicy, demos: Demonstrations, out: Path, progress: Progress) -> None:
    """TD3+BC on `demos` for a method whose critics judge actions (rfs, residual, rlpd); writes the actor to `out`.

    The base has to be frozen already. Raises ConfigError for a method whose critics judge flow noise.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    # deterministic: only the mean was trained, so only the mean is a candidate
    modulation = config.steering.model_copy(update={"candidates": 1})
    steering = Steering(modulation, base, config.timing.execution_horizon)
    replay = demo_replay(steering, features_of(steering, demos), demos.actions, demos.ends)
    learner = Td3Bc(steering, config.sac, config.offline)
    for update in range(1, config.offline.updates + 1):
        info = learner.update(replay.sample(rng, config.sac.batch, 0.0))
        progress(update, info)
    write_actor(out, learner.actor, learner.critic, steering, learner.updates)


def from_experience(
    config: LearnerConfig,
    base: BasePolicy,
    checkpoint: Path,
    out: Path,
    progress: Progress,
    demos: Demonstrations | None = None,
) -> None:
    """The session's own updates, on the replay in its learner's `checkpoint`, with no new decision.

    `demos` are for methods that keep learning from them. Raises DataError if that replay is empty.
    """
    learner = Learner(config, base, demos)
    learner.restore(checkpoint)
    if not len(learner.replay):
        raise DataError(f"{checkpoint}: its replay holds no decision; give the learner of a session that has run")
    for update in range(1, config.offline.updates + 1):
        progress(update, learner.update())
    learner.save_actor(out)
