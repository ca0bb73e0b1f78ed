from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tmrl_ros.config import BaseConfig, LearnerConfig, SacConfig, Timing
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import Learner
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.types import Modulation, Observation

BASE = BasePolicy(BaseConfig(width=16, layers=1), 3, 2, 4).eval()
TIMING = Timing(action_horizon=4, execution_horizon=2)
CONFIG = LearnerConfig(timing=TIMING, sac=SacConfig(warmup_episodes=2, updates_per_decision=3, batch=16))


def transition(decision: int):
    rng = np.random.default_rng(decision)
    seen = [Observation(k, rng.normal(size=3).astype(np.float32)) for k in range(2)]
    last = decision % 4 == 3
    return SimpleNamespace(
        observation=seen[0],
        next_observation=seen[1],
        modulation=Modulation(rng.normal(size=2).astype(np.float32), 0.1),
        actions=rng.uniform(-1, 1, (2, 2)).astype(np.float32),
        executed=2,
        reward=-1.0,
        terminated=last,
        truncated=False,
        success=last and decision % 8 == 7,
        episode=decision // 4,
        decision=decision,
        demo=False,
    )


def feed(learner: Learner, decisions) -> list[dict]:
    infos = []
    for decision in decisions:
        learner.add(transition(decision))
        infos.append(learner.learn())
    return infos


def test_nothing_is_learned_before_the_warm_up_is_over():
    infos = feed(Learner(CONFIG, BASE), range(9))
    assert not any(infos[:7]) and all(infos[7:])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_learner_equals_the_uninterrupted_one_bit_for_bit(precision, tmp_path):
    config = CONFIG.model_copy(update={"sac": CONFIG.sac.model_copy(update={"precision": precision})})
    whole, first = Learner(config, BASE), Learner(config, BASE)
    feed(whole, range(12))
    state = torch.get_rng_state()
    torch.manual_seed(config.seed)
    first = Learner(config, BASE)
    feed(first, range(12))
    first.save(tmp_path / "learner")
    second = Learner(config, BASE)
    second.restore(tmp_path / "learner")
    torch.set_rng_state(state)
    reference = feed(whole, range(12, 20))
    torch.set_rng_state(state)
    assert feed(second, range(12, 20)) == reference
    assert second.actor_bytes() == whole.actor_bytes() and second.version == whole.version == 20


def test_resuming_under_other_settings_is_refused_by_name(tmp_path):
    Learner(CONFIG, BASE).save(tmp_path / "learner")
    other = CONFIG.model_copy(update={"sac": SacConfig(discount=0.5)})
    with pytest.raises(DataError, match="sac"):
        Learner(other, BASE).restore(tmp_path / "learner")


def test_a_transition_that_is_not_finite_never_enters():
    learner, bad = Learner(CONFIG, BASE), transition(0)
    bad.observation = replace(bad.observation, state=np.array([0, np.nan, 0], np.float32))
    with pytest.raises(ValueError, match="features"):
        learner.add(bad)
    assert len(learner.replay) == 0 and learner.version == 0
