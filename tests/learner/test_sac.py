import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, SacConfig
from tmrl_ros.learner.sac import Sac
from tmrl_ros.policy import ensemble
from tmrl_ros.policy.actor import Actor, Critic
from tmrl_ros.policy.heads import make_heads

FEATURES, Z = 3, 2


def make(**settings) -> Sac:
    torch.manual_seed(0)
    heads, config = make_heads(ActorConfig(heads="z sigma"), Z, 4, 4, FEATURES), SacConfig(**settings)
    return Sac(Actor(FEATURES, heads, 32), Critic(config.critics, FEATURES, heads.dim, 32), config)


def batch(n=64, seed=0, **fixed) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = {
        "features": rng.normal(size=(n, FEATURES)),
        "action": rng.uniform(-1, 1, (n, Z + 1)),
        "reward": -np.ones(n),
        "next_features": rng.normal(size=(n, FEATURES)),
        "bootstrap": np.ones(n),
    } | fixed
    return {name: value.astype(np.float32) for name, value in rows.items()}


def test_three_state_chain_reaches_the_exact_values():
    """s0 -> s1 -> s2 -> end with rewards -1, -1, 0: Q = -1 - g, -1, 0; a truncated s2 would bootstrap from itself."""
    sac, g = make(learning_rate=3e-3, polyak=0.05, discount=0.9), 0.9
    states = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(0)
    for _ in range(1500):
        at = rng.integers(3, size=64)
        sac.update(
            batch(
                64,
                features=states[at],
                next_features=states[np.minimum(at + 1, 2)],
                reward=np.array([-1, -1, 0.0])[at],
                bootstrap=np.array([1, 1, 0.0])[at],
                action=rng.uniform(-1, 1, (64, 3)),
            )
        )
    values = sac.critic(torch.eye(3), torch.zeros(3, 3)).mean(0)
    assert values.tolist() == pytest.approx([-1 - g, -1.0, 0.0], abs=0.1)


def test_time_outs_bootstrap_and_ends_do_not():
    sac = make()
    rows = {
        "features": np.zeros((1, 3)),
        "next_features": np.ones((1, 3)),
        "action": np.zeros((1, 3)),
        "reward": np.zeros(1),
    }
    with torch.no_grad():
        sac.critic.theta.zero_()
        *_, weight, bias = sac.target.parts()
        weight.zero_()
        bias.fill_(5.0)
    tensors = {k: torch.as_tensor(v) for k, v in batch(1, **rows, bootstrap=np.ones(1)).items()}
    with torch.no_grad():
        assert sac.goal(tensors).item() == pytest.approx(0.97 * 5)
        tensors["bootstrap"] = torch.zeros(1)
        assert sac.goal(tensors).item() == pytest.approx(0.0)


def gradients(sac: Sac, judged) -> list[torch.Tensor]:
    """Those of critic, actor and temperatures by autograd, from the losses as papers write them."""
    rows = {name: torch.as_tensor(value) for name, value in batch().items()}
    torch.manual_seed(1)
    with torch.no_grad():
        goal = sac.goal(rows)
    critic_loss = (sac.critic(rows["features"], rows["action"]) - goal).square().mean()
    dial = sac.log_temperature.clone().requires_grad_()
    u, log_prob = sac.actor.sample(rows["features"], torch.randn(64, Z + 1))
    by_head = torch.stack([part.sum(-1) for part in log_prob.split([Z, 1], -1)], -1)
    q = sac.critic(rows["features"], judged(rows["features"], u))
    value = q.min(0).values if sac.config.actor_q == "min" else q.mean(0)
    actor_loss = ((dial.detach().exp() * by_head).sum(-1) - value).mean()
    dial_loss = -(dial * (by_head.detach().mean(0) + sac.target_entropy)).sum()
    pairs = [(critic_loss, sac.critic.theta), (actor_loss, sac.actor.theta), (dial_loss, dial)]
    return [torch.autograd.grad(loss, parameter)[0] for loss, parameter in pairs]


@pytest.mark.parametrize("actor_q", ["min", "mean"])
@pytest.mark.parametrize("judged", [lambda features, u: u, lambda features, u: features * u.sin()])
@pytest.mark.parametrize("large", [10, 10**9])
def test_gradients_are_those_of_the_losses(actor_q, judged, large, monkeypatch):
    monkeypatch.setattr(ensemble, "LARGE", large)
    sac = make(actor_q=actor_q, entropy_backup=True)
    sac.judged = judged
    expected = gradients(sac, judged)
    rows = {name: torch.as_tensor(value) for name, value in batch().items()}
    torch.manual_seed(1)
    with torch.no_grad():
        sac.gradients(rows, actors_turn=True)
    for parameter, gradient in zip((sac.critic.theta, sac.actor.theta, sac.log_temperature), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_an_update_without_the_actors_turn_leaves_actor_and_temperatures():
    sac = make(actor_period=2)
    kept = {"actor": sac.actor.theta, "average": sac.average.theta, "temperature": sac.log_temperature}
    before = {name: value.detach().clone() for name, value in kept.items()}
    sac.update(batch())
    assert all(torch.equal(before[name], value) for name, value in kept.items())
    sac.update(batch())
    assert not any(torch.equal(before[name], value) for name, value in kept.items())


def test_followers_follow_every_so_many_updates_as_far_as_they_would_have_gone():
    sac = make(target_period=3, polyak=0.1, actor_period=1, actor_average=0.2)
    pairs = [(sac.target, sac.critic, 1 - 0.9**3), (sac.average, sac.actor, 1 - 0.8**3)]
    starts = [follower.theta.clone() for follower, _, _ in pairs]
    for _ in range(2):
        sac.update(batch())
        assert all(torch.equal(pair[0].theta, start) for pair, start in zip(pairs, starts, strict=True))
    sac.update(batch())
    for (follower, network, rate), start in zip(pairs, starts, strict=True):
        torch.testing.assert_close(follower.theta, start.lerp(network.theta.detach(), rate))


def test_bfloat16_learns_the_same_values():
    sac = make(precision="bfloat16", learning_rate=3e-3, polyak=0.05)
    rows = batch(bootstrap=np.zeros(64))
    for _ in range(300):
        sac.update(rows | {"reward": rows["features"][:, 0] + rows["action"][:, 1]})
    tensors = {name: torch.as_tensor(value) for name, value in rows.items()}
    q = sac.critic(tensors["features"], tensors["action"])
    assert q.dtype == torch.float32
    assert (q - tensors["features"][:, 0] - tensors["action"][:, 1]).abs().mean() < 0.1


def test_actor_moves_towards_modulations_that_earn_more():
    sac = make(target_entropy=-2.0, learning_rate=4e-3)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        u = rng.uniform(-1, 1, (64, 3)).astype(np.float32)
        sac.update(batch(64, action=u, reward=-5 * (u[:, 0] - 0.6) ** 2, bootstrap=np.zeros(64)))
    u, _ = sac.actor.sample(torch.zeros(1, FEATURES), torch.zeros(1, 3))
    assert u[0, 0].item() == pytest.approx(0.6, abs=0.2)


def test_temperature_rises_when_entropy_is_below_its_target():
    sac = make(actor_period=1, target_entropy=-0.1)
    with torch.no_grad():
        sac.actor.parts()[-1][0, 0, 3:] = -4.0  # a narrow actor
    start = sac.log_temperature.clone()
    for _ in range(5):
        sac.update(batch())
    assert (sac.log_temperature > start).all()
