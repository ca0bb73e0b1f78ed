import numpy as np
import pytest
import torch

from tmrl_ros.config import BaseConfig, LearnerConfig, OfflineConfig, SacConfig, Timing
from tmrl_ros.data.store import Demonstrations
from tmrl_ros.errors import ConfigError
from tmrl_ros.learner import offline
from tmrl_ros.learner.core import Learner
from tmrl_ros.policy.actor_file import load_actor
from tmrl_ros.policy.base import BasePolicy

torch.manual_seed(0)
BASE = BasePolicy(BaseConfig(width=16, layers=1), 1, 2, 4).eval().requires_grad_(False)
TIMING = Timing(action_horizon=4, execution_horizon=2)
SAC = SacConfig(batch=32, learning_rate=3e-3)


def config(method: str, **settings) -> LearnerConfig:
    modulation = {"residual_max": 0.5, "residual_chunk": True}
    steered = {"method": method, "modulation": modulation}
    return LearnerConfig(timing=TIMING, sac=SAC, offline=OfflineConfig(**settings), **steered)


def ignore(update, info):
    """Progress that nobody watches."""


def corrections(rows=200):
    """A person who does (0.3, -0.2) whatever the state, where the untrained base stands still."""
    states = np.random.default_rng(0).uniform(-1, 1, (rows, 1)).astype(np.float32)
    return Demonstrations(states, np.tile(np.float32([0.3, -0.2]), (rows, 1)), np.array([rows]), None)


@pytest.mark.parametrize("method", ["rfs", "residual", "rlpd"])
def test_offline_learning_reaches_the_actions_of_the_person(tmp_path, method):
    demos = corrections()
    offline.from_actions(config(method, updates=400, alpha=0.0), BASE, demos, tmp_path / "actor", ignore)
    steering, actor, critic, _ = load_actor(tmp_path / "actor", BASE, 2)
    features = steering.features({"state": torch.zeros(1, 1)})
    u = steering.choose(actor, critic, features, True, torch.randn(1, steering.heads.dim))
    rows = steering.chunk(features, u[None])[0, :2]
    assert rows[:, 0].tolist() == pytest.approx([0.3, 0.3], abs=0.05)


def test_the_critics_pull_the_actor_from_imitation_towards_what_earns_more(tmp_path):
    """An episode ends with the first high action; imitation alone would stay in the middle."""
    states, actions = corrections(400).states, corrections(400).actions
    actions[:, 0] = np.random.default_rng(1).uniform(-0.5, 0.5, 400)
    ends = np.flatnonzero(actions[:, 0] > 0.2) + 1
    demos, reached = Demonstrations(states[: ends[-1]], actions[: ends[-1]], ends, None), {}
    for alpha in (0.0, 20.0):
        offline.from_actions(config("rlpd", updates=600, alpha=alpha), BASE, demos, tmp_path / f"{alpha}", ignore)
        steering, actor, _, _ = load_actor(tmp_path / f"{alpha}", BASE, 2)
        u = actor(BASE.features({"state": torch.zeros(1, 1)}))[0].tanh()
        reached[alpha] = steering.chunk(torch.zeros(1, 1), u)[0, :2, 0].max().item()
    assert reached[20.0] > reached[0.0] + 0.1


def test_a_method_that_steers_noise_cannot_learn_from_actions(tmp_path):
    with pytest.raises(ConfigError, match="judge actions"):
        offline.from_actions(config("tmrl"), BASE, corrections(), tmp_path / "actor", ignore)
    assert not (tmp_path / "actor").exists()


def test_learning_goes_on_from_a_sessions_experience(tmp_path):
    settings = config("tmrl", updates=5)
    learner = Learner(settings, BASE)
    rng = np.random.default_rng(0)
    for k in range(40):
        row = {"features": rng.normal(size=1), "action": rng.uniform(-1, 1, 3), "reward": -1.0,
               "next_features": rng.normal(size=1), "bootstrap": 1.0}  # fmt: skip
        learner.replay.add(k // 4, False, **{name: np.float32(value) for name, value in row.items()})
    learner.save(tmp_path / "learner")
    told = []
    offline.from_experience(settings, BASE, tmp_path / "learner", tmp_path / "actor", lambda k, _: told.append(k))
    expected = Learner(settings, BASE)
    expected.restore(tmp_path / "learner")
    for _ in range(5):
        expected.update()
    _, actor, _, _ = load_actor(tmp_path / "actor", BASE, 2)
    assert told == [1, 2, 3, 4, 5] and torch.equal(actor.theta, expected.sac.average.theta)
