import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, BaseConfig, PolicyConfig, Timing
from tmrl_ros.errors import ActionError, ConfigError
from tmrl_ros.policy.actor_file import write_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.server import PolicyServer
from tmrl_ros.policy.steering import Steering
from tmrl_ros.types import ACTION_NAMES, DecisionRequest, Observation

SMALL = BaseConfig(width=16, layers=1)
BASE = BasePolicy(SMALL, 3, 4, 4).eval()
SEEN = Observation(0, np.zeros(3, np.float32))


def decide(decision=0, observation=SEEN, **settings):
    config = PolicyConfig(timing=Timing(action_horizon=4), **settings)
    return PolicyServer(config, BASE).decide(DecisionRequest(0, 0, decision, False), observation)


def test_a_seed_and_decision_give_the_same_chunk_whatever_came_before():
    config = PolicyConfig(timing=Timing(action_horizon=4), seed=3)
    server = PolicyServer(config, BASE)
    chunks = {k: server.decide(DecisionRequest(0, 0, k, False), SEEN).actions for k in (0, 5, 2)}
    np.testing.assert_array_equal(chunks[5], decide(5, seed=3).actions)


@pytest.mark.parametrize("method", ["base", "tmrl"])
def test_another_seed_or_decision_explores_elsewhere(method):
    draws = {tuple(decide(k, seed=seed, method=method).modulation.z) for k in range(3) for seed in (0, 1, 77)}
    assert len(draws) == 9


def test_the_prior_stays_in_the_bounds_and_dsrl_never_turns_the_dial():
    chunks = [decide(k, modulation=ActorConfig(z_max=0.5, sigma_max=0.2)) for k in range(30)]
    assert max(np.abs(chunk.modulation.z).max() for chunk in chunks) <= 0.5
    assert 0 < max(chunk.modulation.sigma for chunk in chunks) <= 0.2
    assert {decide(k, method="dsrl").modulation.sigma for k in range(5)} == {0.0}


def test_a_base_of_another_horizon_is_refused():
    with pytest.raises(ConfigError, match=r"action_horizon = 16.*trained with 4"):
        PolicyServer(PolicyConfig(), BASE)


@pytest.mark.parametrize(
    ("meant", "sentence"),
    [
        ({"action_hz": 30}, r"action_hz = 10, but the base was trained on rows at 30 Hz"),
        ({"action_dim": 7}, "the base acts by 7 columns, the robot by tcp_displacement_x"),
        (
            {"action_names": ("q1", "q2", "q3", "q4")},
            "the base acts by q1, q2, q3, q4, the robot by tcp_displacement_x",
        ),
        ({"state_names": ("x", "z", "y")}, "publishes the state x, y, z, but the base was trained with x, z, y"),
    ],
)
def test_a_base_whose_numbers_mean_something_else_is_refused(meant, sentence):
    base = BasePolicy(SMALL, **({"state_dim": 3, "action_dim": 4, "horizon": 4} | meant))
    with pytest.raises(ConfigError, match=sentence):
        PolicyServer(PolicyConfig(timing=Timing(action_horizon=4), state_names="x y z"), base)


def test_a_base_that_means_the_same_or_does_not_say_is_accepted():
    config = PolicyConfig(timing=Timing(action_horizon=4), state_names="x y z")
    for meant in ({"state_names": ("x", "y", "z"), "action_names": ACTION_NAMES, "action_hz": 10}, {}):
        PolicyServer(config, BasePolicy(SMALL, 3, 4, 4, **meant))
    PolicyServer(config.model_copy(update={"state_names": ""}), BasePolicy(SMALL, 1, 4, 4, state_names=("q",)))


def test_an_action_that_is_not_finite_is_never_answered():
    with pytest.raises(ActionError, match="not finite"):
        decide(observation=Observation(0, np.array([np.nan, 0, 0], np.float32)))
    assert torch.isfinite(torch.as_tensor(decide().actions)).all()


def noises(episode, coherence):
    """z of four decisions of one episode, before any learning."""
    config = PolicyConfig(timing=Timing(action_horizon=4), modulation=ActorConfig(coherence=coherence, z_max=3))
    server = PolicyServer(config, BASE)
    asked = [DecisionRequest(0, episode, 4 * episode + k, False) for k in range(4)]
    return np.stack([server.decide(request, SEEN).modulation.z for request in asked])


def test_coherent_exploration_keeps_to_one_answer_within_an_episode_and_to_another_in_the_next():
    first, second = noises(0, 1.0), noises(1, 1.0)
    np.testing.assert_array_equal(first, np.tile(first[:1], (4, 1)))
    assert (first[0] != second[0]).all()


def test_partly_coherent_exploration_stays_standard_normal():
    z = np.concatenate([noises(episode, 0.5) for episode in range(300)])
    assert z.std() == pytest.approx(1.0, abs=0.05)
    within = np.stack([noises(episode, 0.5) for episode in range(300)])
    assert np.corrcoef(within[:, 0, 0], within[:, 1, 0])[0, 1] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("learned_from", "open_"), [(0, 0.2), (5, 0.6), (10, 1.0), (5000, 1.0)])
def test_a_finished_actor_acts_within_the_bounds_that_its_training_had_opened(tmp_path, learned_from, open_):
    """The session that evaluates it counts its decisions from 0."""
    steering = Steering(ActorConfig(heads="z", z_max=1, bounds_start=0.2, bounds_decisions=10, candidates=1), BASE, 4)
    actor, critic = steering.build(2)
    with torch.no_grad():
        actor.theta.add_(50.0)  # far out, so at the end of whatever is open
    write_actor(tmp_path / "actor", actor, critic, steering, learned_from)
    timing = Timing(action_horizon=4, execution_horizon=4)
    server = PolicyServer(PolicyConfig(timing=timing, actor=str(tmp_path / "actor")), BASE)
    z = [server.decide(DecisionRequest(0, 0, decision, True), SEEN).modulation.z for decision in (0, 5, 10)]
    np.testing.assert_allclose(np.abs(z).max(1), np.maximum(open_, [0.2, 0.6, 1.0]), atol=1e-3)


def test_an_actor_acts_with_the_candidates_it_was_written_with(tmp_path):
    """One that was trained offline has a mean alone: its spread was never trained."""
    steering = Steering(ActorConfig(heads="z sigma", candidates=1), BASE, 4)
    write_actor(tmp_path / "actor", *steering.build(2), steering, 1)
    config = PolicyConfig(timing=Timing(action_horizon=4, execution_horizon=4), actor=str(tmp_path / "actor"))
    server = PolicyServer(config, BASE)
    greedy = [server.decide(DecisionRequest(0, 0, k, True), SEEN).modulation.z for k in range(4)]
    assert all((z == greedy[0]).all() for z in greedy)
