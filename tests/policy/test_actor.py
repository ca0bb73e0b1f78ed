import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from tmrl_ros.config import ActorConfig, BaseConfig
from tmrl_ros.errors import DataError
from tmrl_ros.policy.actor import Actor
from tmrl_ros.policy.actor_file import actor_tensors, build_actor, parse_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.ensemble import Ensemble
from tmrl_ros.policy.heads import make_heads
from tmrl_ros.policy.steering import Steering

BASE = BasePolicy(BaseConfig(width=16, layers=1), 3, 2, 4).eval()


def heads(*names, **settings):
    return make_heads(ActorConfig(heads=" ".join(names), **settings), 4, 16, 8, 3)


def test_log_density_integrates_to_one_over_the_squashed_range():
    torch.manual_seed(0)
    actor = Actor(3, heads("sigma"), 128)
    noise = torch.linspace(-6, 6, 4001)[:, None]
    u, log_prob = actor.sample(torch.zeros(4001, 3), noise)
    assert torch.trapezoid(log_prob.exp()[:, 0], u[:, 0]).item() == pytest.approx(1.0, abs=1e-3)


def test_ensemble_equals_its_members_run_one_at_a_time():
    torch.manual_seed(0)
    ensemble, x = Ensemble(3, [4, 8, 1]), torch.randn(5, 4)
    for member, out in enumerate(ensemble(x)):
        w0, b0, w1, b1 = (part[member] for part in ensemble.parts())
        h = F.layer_norm(x @ w0 + b0, (8,)).relu()
        torch.testing.assert_close(out, h @ w1 + b1)


@pytest.mark.parametrize("names", ["z sigma", "z residual"])
def test_greedy_choice_is_the_candidate_the_critics_rank_best(names):
    torch.manual_seed(0)
    steering = Steering(ActorConfig(heads=names), BASE, 2)
    actor, critic = steering.build(2)
    features, noise = torch.randn(1, 3), torch.randn(8, steering.heads.dim)
    best = steering.choose(actor, critic, features, True, noise)
    wide = features.expand(8, -1)
    everyone, _ = actor.sample(wide, torch.cat([torch.zeros_like(noise[:1]), noise[1:]]))
    values = critic(wide, steering.judged(wide, everyone)).min(0).values
    assert critic(features, steering.judged(features, best[None])).min(0).values.item() == pytest.approx(
        values.max().item(), abs=1e-5
    )


def test_actor_survives_the_wire_and_refuses_what_does_not_fit():
    steering = Steering(ActorConfig(heads="z sigma"), BASE, 2)
    actor, critic = steering.build(2)
    data = safetensors.torch.save(actor_tensors(actor, critic))
    again, _ = build_actor(parse_actor(data), steering)
    x = torch.randn(2, 3)
    assert torch.equal(actor(x)[0], again(x)[0])
    with pytest.raises(DataError, match="not safetensors"):
        parse_actor(data[:100])
    with pytest.raises(DataError, match="does not fit"):
        build_actor(parse_actor(data), Steering(ActorConfig(heads="z"), BASE, 2))
