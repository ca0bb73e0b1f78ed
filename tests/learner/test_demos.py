from dataclasses import replace

import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, BaseConfig
from tmrl_ros.data.store import Demonstrations
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.learner.demos import demo_replay, features_of
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering
from tmrl_ros.types import Observation

BASE = BasePolicy(BaseConfig(width=16, layers=1), 1, 2, 4).eval()
STATES = np.arange(8, dtype=np.float32)[:, None]  # two episodes, of 5 and 3 rows
ACTIONS = np.stack([np.arange(8), np.ones(8)], 1).astype(np.float32) / 10  # the grip is last
ENDS = np.array([5, 8])
SHOWN = Demonstrations(STATES, ACTIONS, ENDS, None)


@pytest.fixture
def replay():
    steering = Steering(ActorConfig(heads="action"), BASE, 2)
    return demo_replay(steering, features_of(steering, SHOWN), ACTIONS, ENDS)


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
        demo_replay(Steering(ActorConfig(heads="z sigma"), BASE, 2), torch.as_tensor(STATES), ACTIONS, ENDS)


def test_batches_of_rlpd_are_half_demonstrations():
    from tmrl_ros.config import LearnerConfig, SacConfig, Timing
    from tmrl_ros.learner.core import Learner

    sac = SacConfig(demo_share=0.5, batch=16, success_share=0)
    config = LearnerConfig(method="rlpd", sac=sac, timing=Timing(action_horizon=4, execution_horizon=2))
    with pytest.raises(ConfigError, match="demos"):
        Learner(config, BASE)
    learner = Learner(config, BASE, SHOWN)
    row = {"features": [99], "action": np.zeros(4), "reward": -1.0, "next_features": [99], "bootstrap": 1.0}
    learner.replay.add(0, False, **{name: np.float32(value) for name, value in row.items()})
    batch = learner._batch()
    assert (batch["features"] == 99).sum() == 8 and len(batch["features"]) == 16
    assert torch.isfinite(learner.update()["critic/loss"])


@pytest.fixture(scope="module")
def seeing():
    """(steering of a base that sees clouds and a camera's images, demonstrations of 300 rows with both)."""
    rng = np.random.default_rng(0)
    shapes = {"cloud": (16, 3), "front": (32, 32, 3)}
    base = BasePolicy(BaseConfig(width=16, layers=1, embedding=8), 1, 2, 4, shapes).eval()
    states, actions = rng.normal(size=(300, 1)).astype(np.float32), np.zeros((300, 2), np.float32)
    clouds = rng.normal(size=(300, 16, 3)).astype(np.float32)
    images = {"front": rng.integers(0, 255, (300, 32, 32, 3), np.uint8)}
    shown = Demonstrations(states, actions, np.array([300]), None, images, clouds)
    return Steering(ActorConfig(heads="action"), base, 2), shown


def test_rows_are_seen_as_an_observation_with_the_same_inputs_is(seeing):
    steering, shown = seeing
    features = features_of(steering, shown)
    for row in (0, 255, 256, 299):
        images = {"front": shown.images["front"][row]}
        observation = Observation(0, shown.states[row], images, shown.clouds[row])
        alone = steering.features(steering.base.inputs([observation]))[0]
        torch.testing.assert_close(features[row], alone, rtol=1e-4, atol=1e-5)


def test_a_store_without_what_the_base_sees_is_refused_with_the_name_of_it(seeing):
    steering, shown = seeing
    with pytest.raises(DataError, match="'cloud'"):
        features_of(steering, replace(shown, clouds=None))
    with pytest.raises(DataError, match=r"\[8, 3\].*\[16, 3\]"):
        features_of(steering, replace(shown, clouds=shown.clouds[:, :8]))
