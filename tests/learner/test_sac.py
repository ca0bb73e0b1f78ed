import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, SacConfig
from tmrl_ros.learner.sac import Sac
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
    assert sac.critic_loss(tensors)[0].item() == pytest.approx((0.97 * 5) ** 2)
    tensors["bootstrap"] = torch.zeros(1)
    assert sac.critic_loss(tensors)[0].item() == pytest.approx(0.0)


def test_critic_loss_moves_only_the_critic_and_actor_update_only_the_actor():
    sac = make(actor_period=1)
    tensors = {k: torch.as_tensor(v) for k, v in batch().items()}
    sac.critic_loss(tensors)[0].backward()
    assert all(p.grad is not None for p in sac.critic.parameters())
    assert all(p.grad is None for p in [*sac.actor.parameters(), *sac.target.parameters()])
    before = {k: v.clone() for k, v in sac.critic.state_dict().items()}
    sac.critic.requires_grad_(False)
    loss, dial, _ = sac.actor_loss(tensors)
    loss.backward()
    assert all(p.grad is not None for p in sac.actor.parameters())
    assert sac.log_temperature.grad is None
    dial.backward()
    assert sac.log_temperature.grad.shape == (2,)
    assert all(torch.equal(v, before[k]) for k, v in sac.critic.state_dict().items())


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
    start = sac.log_temperature.detach().clone()
    for _ in range(5):
        sac.update(batch())
    assert (sac.log_temperature > start).all()
