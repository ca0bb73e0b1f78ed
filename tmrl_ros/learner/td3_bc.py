"""TD3+BC on stored actions (arXiv 2106.06860): RFS's offline form, from a person's corrections (arXiv 2602.01789).

The policy is the whole of base and residual, pi(s) = base(s, z(s)) + a_r(s), so imitation asks for a_r = a_human -
a_base while the critics judge what the robot does.
"""

import copy

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.config import OfflineConfig, SacConfig
from tmrl_ros.policy.actor import Actor, Critic
from tmrl_ros.policy.ensemble import Ensemble
from tmrl_ros.policy.steering import Steering


class Td3Bc:
    """Networks and optimisers; `update` takes one batch of arrays as named in replay.FIELDS."""

    def __init__(self, steering: Steering, sac: SacConfig, config: OfflineConfig):
        self.steering, self.sac, self.config = steering, sac, config
        self.actor, self.critic = steering.build(sac.critics)
        self.actor_target, self.critic_target = (_frozen_copy(net) for net in (self.actor, self.critic))
        self.actor_adam, self.critic_adam = (
            torch.optim.Adam(net.parameters(), sac.learning_rate, fused=True) for net in (self.actor, self.critic)
        )
        self.updates = 0

    def critic_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Squared error to r + discount * bootstrap * min_i Q_i'(s', pi'(s') with clipped noise on u)."""
        with torch.no_grad():
            u = _mean(self.actor_target, batch["next_features"])
            limit = self.config.target_noise_max
            noise = (self.config.target_noise * torch.randn_like(u)).clamp(-limit, limit)
            value = self._judge(self.critic_target, batch["next_features"], (u + noise).clamp(-1, 1)).min(0).values
            goal = batch["reward"] + self.sac.discount * batch["bootstrap"] * value
        loss = (self.critic(batch["features"], batch["action"]) - goal).square().mean()
        return loss, {"critic/loss": loss.detach()}

    def actor_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """(pi(s) - a)^2 - alpha Q(s, pi(s)) / mean |Q|, with the first critic."""
        features = batch["features"]
        judged = self.steering.judged(features, _mean(self.actor, features))
        imitation = (judged - batch["action"]).square().mean()
        q = self.critic(features, judged)[0]
        loss = imitation - self.config.alpha * q.mean() / q.detach().abs().mean().clamp(min=1e-6)
        return loss, {"actor/imitation": imitation.detach(), "critic/q": q.detach().mean()}

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """One critic update and, every `actor_period`-th time, one of the actor and the targets."""
        batch = {name: torch.as_tensor(value) for name, value in batch.items()}
        loss, info = self.critic_loss(batch)
        _descend(self.critic_adam, loss)
        self.updates += 1
        if self.updates % self.sac.actor_period == 0:
            loss, extra = self.actor_loss(batch)
            _descend(self.actor_adam, loss)
            for target, net in ((self.actor_target, self.actor), (self.critic_target, self.critic)):
                target.theta.data.lerp_(net.theta.data, self.sac.polyak)
            info |= extra
        return info

    def _judge(self, critic: Critic, features: Tensor, u: Tensor) -> Tensor:
        return critic(features, self.steering.judged(features, u))


def _mean(actor: Actor, features: Tensor) -> Tensor:
    return actor(features)[0].tanh()


def _frozen_copy(net: Ensemble) -> Ensemble:
    return copy.deepcopy(net).requires_grad_(False)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
