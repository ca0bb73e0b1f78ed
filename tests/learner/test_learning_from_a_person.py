"""What a person did while the policy learned: methods learn from it what they can, and from nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tmrl_ros.config import METHODS, BaseConfig, LearnerConfig, SacConfig, Timing
from tmrl_ros.data.assembler import Transition
from tmrl_ros.data.store import Demonstrations
from tmrl_ros.learner.core import Learner
from tmrl_ros.policy import relabel
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering
from tmrl_ros.types import EMPTY, Modulation, Observation

torch.manual_seed(1)
BASE = BasePolicy(BaseConfig(width=32, layers=1), 3, 2, 4).eval()
TIMING = Timing(action_horizon=4, execution_horizon=4)
STATES = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def learner(method: str, **settings) -> Learner:
    sac = METHODS[method].learner.get("sac", {}) | {"batch": 16, "critics": 2, "target_critics": 0}
    config = LearnerConfig(method=method, timing=TIMING, sac=SacConfig(**sac), **settings)
    demos = Demonstrations(STATES, np.zeros((20, 2), np.float32), np.array([20]), None)
    return Learner(config, BASE, demos if config.sac.demo_share else None)


def shown(actions, decision=0, terminated=True) -> Transition:
    """A person's decision of rows [executed, 2]."""
    seen = [Observation(k, STATES[k]) for k in range(2)]
    padded = np.zeros((4, 2), np.float32)
    padded[: len(actions)] = actions
    return Transition(
        observation=seen[0], next_observation=seen[1], modulation=Modulation(EMPTY), actions=padded,
        executed=len(actions), reward=-1.0 + terminated, terminated=terminated, truncated=False, success=terminated,
        episode=0, decision=decision, actor_version=0, greedy=False, demo=True,
    )  # fmt: skip


def features(steering: Steering):
    return steering.features(BASE.inputs([Observation(0, STATES[0])]))[0]


@pytest.mark.parametrize("method", ["tmrl", "dsrl"])
def test_the_nearest_chunk_is_found_where_the_base_can_make_it(method):
    steering = learner(method).steering
    for seed in range(3):
        u = 1.6 * torch.rand(steering.heads.dim, generator=torch.Generator().manual_seed(seed)) - 0.8
        with torch.no_grad():
            rows = steering.chunk(features(steering)[None], u[None])[0].numpy()
        found, error = relabel.nearest(steering, features(steering), rows, seed)
        assert error < 0.01 and found.abs().max() < 1
        assert relabel.nearest(steering, features(steering), rows, seed)[0].equal(found)


def test_what_no_chunk_comes_near_is_counted_but_not_learned_from():
    rows = np.array([[1, 1], [-1, -1], [1, 1], [-1, -1]], np.float32)  # one z repeated cannot
    tmrl = learner("tmrl")
    assert not tmrl.add(shown(rows)) and len(tmrl.replay) == 0
    assert (tmrl.version, tmrl.episodes) == (1, 1) and tmrl.learn() == {}
    lenient = learner("tmrl", relabel_error=3.0)
    assert lenient.add(shown(rows)) and lenient.replay.shown[0]


@pytest.mark.parametrize("method", ["rlpd", "residual", "rfs"])
def test_critics_that_judge_rows_see_those_of_the_person(method):
    made = learner(method)
    assert made.add(shown(np.float32([[0.1, -1], [0.2, 1]])))
    np.testing.assert_allclose(made.replay.rows["action"][0], [0.1, -1, 0.2, 1, 0, 1, 0, 1])


def test_rlpd_draws_its_half_of_demonstrations_from_interventions_too():
    made = learner("rlpd")
    for decision in range(20):
        made.add(shown(np.full((4, 2), 0.5, np.float32), decision))
    half = np.concatenate([made._shown(8)["action"][:, 0] for _ in range(20)])
    assert 0.3 < (half == 0.5).mean() < 0.7  # as many as there are demonstrations
    assert made.learn()


def test_a_decision_cut_by_a_change_of_hands_is_not_learned_from():
    made = learner("rlpd")
    cut = shown(np.full((2, 2), 0.5, np.float32), terminated=False)
    assert not made.add(cut) and not made.add(replace(cut, demo=False, decision=1)) and made.version == 2
    assert made.learn() == {}


def test_interventions_are_still_known_after_a_resume(tmp_path):
    made, again = learner("rlpd"), learner("rlpd")
    made.add(shown(np.full((4, 2), 0.5, np.float32)))
    made.save(tmp_path / "learner")
    again.restore(tmp_path / "learner")
    assert again.replay.shown[0] and again.digest == made.digest
