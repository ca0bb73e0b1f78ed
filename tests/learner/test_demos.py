import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, BaseConfig
from tmrl_ros.errors import ConfigError
from tmrl_ros.learner.demos import demo_replay
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering

BASE = BasePolicy(BaseConfig(width=16, layers=1), 1, 2, 4).eval()
STATES = np.arange(8, dtype=np.float32)[:, None]  # two episodes, of 5 and 3 rows
ACTIONS = np.stack([np.arange(8), np.ones(8)], 1).astype(np.float32) / 10  # the grip is last
ENDS = np.array([5, 8])


@pytest.fixture
def replay():
    return demo_replay(Steering(ActorConfig(heads="action"), BASE, 2), STATES, ACTIONS, ENDS)


def test_every_row_begins_a_decision_that_stays_in_its_episode(replay):
    assert len(replay) == 8
    assert replay.rows["next_features"][:8, 0].tolist() == [2, 3, 4, 4, 4, 7, 7, 7]


def test_only_the_decision_that_reaches_the_end_succeeds(replay):
    ends = [0, 0, 0, 1, 1, 0, 1, 1]
    assert replay.rows["reward"][:8].tolist() == [end - 1 for end in ends]
    assert replay.rows["bootstrap"][:8].tolist() == [1 - end for end in ends]


def test_past_the_end_there_is_no_motion_and_the_last_grip(replay):
    last = replay.rows["action"][4]
    assert last.tolist() == pytest.approx([0.4, 0.1, 0.0, 0.1])


def test_methods_whose_critics_judge_noise_cannot_learn_from_actions():
    with pytest.raises(ConfigError, match="z and sigma"):
        demo_replay(Steering(ActorConfig(heads="z sigma"), BASE, 2), STATES, ACTIONS, ENDS)


def test_batches_of_rlpd_are_half_demonstrations():
    from tmrl_ros.config import LearnerConfig, SacConfig, Timing
    from tmrl_ros.learner.core import Learner

    sac = SacConfig(demo_share=0.5, batch=16, success_share=0)
    config = LearnerConfig(method="rlpd", sac=sac, timing=Timing(action_horizon=4, execution_horizon=2))
    with pytest.raises(ConfigError, match="demos"):
        Learner(config, BASE)
    learner = Learner(config, BASE, (STATES, ACTIONS, ENDS))
    row = {"features": [99], "action": np.zeros(4), "reward": -1.0, "next_features": [99], "bootstrap": 1.0}
    learner.replay.add(0, False, **{name: np.float32(value) for name, value in row.items()})
    batch = learner._batch()
    assert (batch["features"] == 99).sum() == 8 and len(batch["features"]) == 16
    assert torch.isfinite(learner.update()["critic/loss"])
