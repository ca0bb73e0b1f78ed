"""Soft actor-critic over the modulation of a frozen base (TMRL, arXiv 2605.12236; DSRL is the same with z alone).

One action is one decision: u picks the chunk. Rewards are -1 and 0 at success; a time-out bootstraps, an end does not.
"""

import copy
import math

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.config import ActorConfig, SacConfig
from tmrl_ros.policy.actor import Actor, Critic, Ensemble


class Sac:
    """Networks, optimisers and temperatures; `update` takes one batch of tensors as named in replay.FIELDS."""

    def __init__(self, feature_dim: int, z_dim: int, modulation: ActorConfig, config: SacConfig):
        self.config = config
        self.actor = Actor(feature_dim, z_dim, modulation)
        self.critic = Critic(config.critics, feature_dim, self.actor.dim, modulation.width)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.average = copy.deepcopy(self.actor).requires_grad_(
            False
        )  # what acts: the last iterate swings between updates
        heads = [z_dim, self.actor.dim - z_dim]
        self.heads = [n for n in heads if n]
        self.target_entropy = config.target_entropy * torch.tensor(self.heads)
        self.log_temperature = torch.full((len(self.heads),), math.log(config.temperature), requires_grad=True)
        adam = {"lr": config.learning_rate, "fused": True}
        self.optimisers = {
            "critic": torch.optim.Adam(self.critic.parameters(), **adam),
            "actor": torch.optim.Adam(self.actor.parameters(), **adam),
            "temperature": torch.optim.Adam([self.log_temperature], **adam),
        }
        self.updates = 0

    def critic_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Squared error to r + discount * bootstrap * min_i Q_i'(s', u'), u' ~ actor; no entropy in the target."""
        with torch.no_grad():
            following = batch["next_features"]
            u, _ = self.actor.sample(following, torch.randn(len(following), self.actor.dim))
            value = self.target(following, u).min(0).values
            goal = batch["reward"] + self.config.discount * batch["bootstrap"] * value
        q = self.critic(batch["features"], batch["u"])
        loss = (q - goal).square().mean()
        return loss, {"critic/loss": loss.detach(), "critic/q": q.detach()}

    def actor_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict]:
        """E[temperature * log pi - min_i Q_i], each head with its own temperature; and the temperatures' loss."""
        features = batch["features"]
        u, log_prob = self.actor.sample(features, torch.randn(len(features), self.actor.dim))
        by_head = torch.stack([part.sum(-1) for part in log_prob.split(self.heads, -1)], -1)
        temperature = self.log_temperature.exp()
        loss = ((temperature.detach() * by_head).sum(-1) - self.critic(features, u).min(0).values).mean()
        dial = -(self.log_temperature * (by_head.detach().mean(0) + self.target_entropy)).sum()
        info = {"actor/entropy": -by_head.detach().sum(-1), "actor/temperature": temperature.detach()}
        return loss, dial, info

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """One critic update and, every `actor_period`-th time, one of actor and temperatures; returns raw metrics."""
        batch = {name: torch.as_tensor(value) for name, value in batch.items()}
        loss, info = self.critic_loss(batch)
        self._descend("critic", loss)
        self._follow(self.target, self.critic, self.config.polyak)
        self.updates += 1
        if self.updates % self.config.actor_period == 0:
            self.critic.requires_grad_(False)
            loss, dial, extra = self.actor_loss(batch)
            self._descend("actor", loss)
            self._descend("temperature", dial)
            self.critic.requires_grad_(True)
            self._follow(self.average, self.actor, self.config.actor_average)
            info |= extra
        return info

    @staticmethod
    def _follow(average: Ensemble, network: Ensemble, rate: float) -> None:
        average.theta.data.lerp_(network.theta.data, rate)

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
