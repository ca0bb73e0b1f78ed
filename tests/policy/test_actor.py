import pytest
import torch
from torch.nn import functional as F

from tmrl_ros.config import ActorConfig
from tmrl_ros.errors import DataError
from tmrl_ros.policy.actor import Actor, Critic, Ensemble, choose
from tmrl_ros.policy.actor_file import actor_tensors, build_actor, parse_actor


def test_log_density_integrates_to_one_over_the_squashed_range():
    torch.manual_seed(0)
    actor = Actor(3, 1, ActorConfig(learn_sigma=False))
    noise = torch.linspace(-6, 6, 4001)[:, None]
    u, log_prob = actor.sample(torch.zeros(4001, 3), noise)
    assert torch.trapezoid(log_prob.exp()[:, 0], u[:, 0]).item() == pytest.approx(1.0, abs=1e-3)


def test_sigma_starts_where_configured_and_all_heads_stay_in_their_bounds():
    actor = Actor(3, 4, ActorConfig(sigma_max=0.3, sigma_start=0.15, z_max=1.5))
    z, sigma = actor.split(actor.sample(torch.randn(500, 3), torch.zeros(500, 5))[0])
    assert sigma.mean().item() == pytest.approx(0.15, abs=0.02)
    z, sigma = actor.split(actor.sample(torch.randn(500, 3) * 100, torch.randn(500, 5) * 10)[0])
    assert z.abs().max() <= 1.5 and sigma.min() >= 0 and sigma.max() <= 0.3


def test_join_undoes_split():
    actor = Actor(2, 4, ActorConfig())
    u = torch.rand(50, 5) * 2 - 1
    torch.testing.assert_close(actor.join(*actor.split(u)), u)


def test_fixed_sigma_is_not_an_action():
    actor = Actor(2, 4, ActorConfig(learn_sigma=False, sigma_start=0.2))
    assert actor.dim == 4
    assert actor.split(torch.zeros(3, 4))[1].tolist() == pytest.approx([0.2] * 3)


def test_ensemble_equals_its_members_run_one_at_a_time():
    torch.manual_seed(0)
    ensemble, x = Ensemble(3, [4, 8, 1]), torch.randn(5, 4)
    for member, out in enumerate(ensemble(x)):
        w0, b0, w1, b1 = (part[member] for part in ensemble.parts())
        h = F.layer_norm(x @ w0 + b0, (8,)).relu()
        torch.testing.assert_close(out, h @ w1 + b1)


def test_greedy_choice_is_the_candidate_the_critics_rank_best():
    torch.manual_seed(0)
    actor, critic = Actor(3, 4, ActorConfig()), Critic(2, 3, 5, 16)
    features, noise = torch.randn(1, 3), torch.randn(8, 5)
    best = choose(actor, critic, features, True, noise)
    everyone, _ = actor.sample(features.expand(8, -1), torch.cat([torch.zeros(1, 5), noise[1:]]))
    values = critic(features.expand(8, -1), everyone).min(0).values
    assert critic(features, best).min(0).values.item() == pytest.approx(values.max().item())


def test_actor_survives_the_wire_and_refuses_what_does_not_fit():
    import safetensors.torch

    actor, critic = Actor(3, 4, ActorConfig()), Critic(2, 3, 5, 128)
    data = safetensors.torch.save(actor_tensors(actor, critic))
    again, _ = build_actor(parse_actor(data), 3, 4, ActorConfig())
    x = torch.randn(2, 3)
    assert torch.equal(actor(x)[0], again(x)[0])
    with pytest.raises(DataError, match="not safetensors"):
        parse_actor(data[:100])
    with pytest.raises(DataError, match="does not fit"):
        build_actor(parse_actor(data), 4, 4, ActorConfig())
