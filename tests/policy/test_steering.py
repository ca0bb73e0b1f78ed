import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, BaseConfig, LearnerConfig, SteeringConfig, Timing
from tmrl_ros.errors import ConfigError
from tmrl_ros.learner.core import Learner
from tmrl_ros.policy.actor_file import load_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering
from tmrl_ros.types import Modulation

torch.manual_seed(0)
BASE = BasePolicy(BaseConfig(width=16, layers=1), 3, 2, 4).eval().requires_grad_(False)
torch.nn.init.normal_(BASE.net.leave.weight, std=0.3)  # an untrained one answers with its noise alone
METHODS = ("tmrl", "dsrl", "rfs", "residual", "rlpd")


def steering(method="tmrl", rows=2, **settings) -> Steering:
    return Steering(SteeringConfig(method=method, modulation=ActorConfig(**settings)).steering, BASE, rows)


@pytest.mark.parametrize("method", METHODS)
def test_a_modulation_that_travels_gives_the_same_chunk_again(method):
    steer = steering(method)
    features = torch.randn(1, steer.feature_dim)
    u = torch.rand(steer.heads.dim) * 2 - 1
    again = steer.u(steer.modulation(u))
    torch.testing.assert_close(again, u)
    torch.testing.assert_close(steer.chunk(features, again[None]), steer.chunk(features, u[None]))


def test_methods_do_what_they_are_named_for():
    features, z = torch.randn(1, 3), torch.rand(1, 2) - 0.5
    u = {m: torch.zeros(1, steering(m).heads.dim) for m in METHODS}
    noise = z[:, None].expand(1, 4, 2)
    plain = BASE.sample(features, noise, torch.zeros(1)).clamp(-1, 1)
    u["dsrl"][:, :2] = u["rfs"][:, :2] = u["tmrl"][:, :2] = z / 1.5
    torch.testing.assert_close(steering("dsrl").chunk(features, u["dsrl"]), plain)
    torch.testing.assert_close(steering("rfs").chunk(features, u["rfs"])[:, :2], plain[:, :2])
    u["rfs"][:, 2:] = 1.0
    pushed = (plain[:, :2] + 0.1).clamp(-1, 1)
    torch.testing.assert_close(steering("rfs").chunk(features, u["rfs"])[:, :2], pushed)
    blurred = BASE.sample(features, noise, torch.full((1,), 0.15)).clamp(-1, 1)
    torch.testing.assert_close(steering("tmrl").chunk(features, u["tmrl"]), blurred)
    rows = torch.rand(1, 4) * 2 - 1
    torch.testing.assert_close(steering("rlpd").chunk(features, rows)[:, :2], rows.view(1, 2, 2))


def test_a_residual_alone_is_on_top_of_what_the_base_does_without_noise():
    steer, state = steering("residual"), torch.randn(1, 3)
    features = steer.features({"state": state})
    still = BASE.sample(BASE.features({"state": state}), torch.zeros(1, 4, 2), torch.zeros(1)).clamp(-1, 1)[:, :2]
    torch.testing.assert_close(steer.chunk(features, torch.zeros(1, 2))[:, :2], still)
    torch.testing.assert_close(steer.chunk(features, torch.ones(1, 2))[:, :2], (still + 0.1).clamp(-1, 1))


def test_a_full_chunk_of_noise_reaches_every_row_on_its_own():
    steer, features = steering("tmrl", z_chunk=True), torch.randn(1, 3)
    u = torch.zeros(1, 9)
    u[0, 6] = 1.0  # the last row
    moved = (steer.chunk(features, u) - steer.chunk(features, torch.zeros(1, 9))).abs().sum(-1)[0]
    assert moved[3] > 0.1


def test_context_noise_as_an_action_changes_the_chunk_only_where_sigma_lets_it():
    steer, features = steering("tmrl", heads="z sigma context_noise"), torch.randn(1, 3)
    u = torch.zeros(2, steer.heads.dim)
    u[1, 3:] = 1.0
    open_dial, closed = u.clone(), u.clone()
    closed[:, 2] = -1.0  # sigma = 0
    apart = {
        name: (lambda c: (c[0] - c[1]).abs().max())(steer.chunk(features.expand(2, -1), x))
        for name, x in (("open", open_dial), ("closed", closed))
    }
    assert apart["open"] > 1e-4 and apart["closed"] == 0


@pytest.mark.parametrize("method", ["rfs", "residual", "rlpd"])
def test_critics_of_methods_with_a_residual_judge_the_rows_that_ran(method):
    steer = steering(method)
    features = torch.randn(steer.feature_dim)
    u = torch.zeros(steer.heads.dim)
    ran = np.array([[0.3, -0.2], [9.0, 9.0]], np.float32)  # one row ran, then the episode ended
    judged = steer.judged_of(features, steer.modulation(u), ran, 1).view(2, 2)
    planned = steer.chunk(features[None], u[None])[0, :2]
    assert judged[0].tolist() == pytest.approx([0.3, -0.2]) and torch.equal(judged[1], planned[1])


def test_gradients_of_what_critics_judge_reach_the_noise_and_the_residual_and_not_the_base():
    steer = steering("rfs")
    u = torch.zeros(3, steer.heads.dim, requires_grad=True)
    steer.judged(torch.randn(3, 3), u).square().sum().backward()
    assert (u.grad.abs().sum(0) > 0).all()
    assert all(parameter.grad is None for parameter in BASE.parameters())


def test_bounds_open_with_the_decisions_and_stay_open():
    steer, far = steering("tmrl", bounds_start=0.2, bounds_decisions=10), torch.ones(3)
    z = [steer.bounded(far, decision)[0].item() for decision in (0, 5, 10, 99)]
    assert z == pytest.approx([0.2, 0.6, 1.0, 1.0])
    assert steer.heads.values(steer.bounded(far, 0)[None])["sigma"].item() == pytest.approx(0.15 + 0.2 * 0.15)


def test_an_actor_of_another_execution_horizon_is_refused(tmp_path):
    learner = Learner(LearnerConfig(timing=Timing(action_horizon=4, execution_horizon=2)), BASE)
    learner.save_actor(tmp_path / "actor")
    assert load_actor(tmp_path / "actor", BASE, 2)[3] == 0
    with pytest.raises(ConfigError, match="execution_horizon = 2, not 3"):
        load_actor(tmp_path / "actor", BASE, 3)


def test_the_prior_is_standard_noise_within_its_bounds_and_no_residual_to_speak_of():
    steer = steering("rfs")
    u = torch.stack([steer.prior(torch.randn(steer.heads.dim)) for _ in range(2000)])
    values = steer.heads.values(u)
    assert values["z"].std().item() == pytest.approx(0.9, abs=0.1) and values["z"].abs().max() <= 1.5001
    assert values["residual"].std() < 0.05
    assert steer.modulation(u[0]).residual.shape == (2,) and isinstance(steer.modulation(u[0]), Modulation)


def test_builds_as_many_layers_as_asked():
    actor, critic = steering(layers=3, width=16).build(2)
    assert [len(network.units) for network in (actor, critic)] == [3, 3]
    assert critic(torch.zeros(5, 3), torch.zeros(5, 3)).shape == (2, 5)
