"""Soft actor-critic over what steers a frozen base (TMRL, arXiv 2605.12236; DSRL is the same with z alone).

One action is one decision: u picks the chunk. Rewards are -1 and 0 at success; a time-out bootstraps, an end does not.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.config import SacConfig
from tmrl_ros.policy.actor import Actor, Critic
from tmrl_ros.policy.ensemble import Ensemble

Judged = Callable[[Tensor, Tensor], Tensor]


class Sac:
    """Networks, optimisers and temperatures; `update` takes one batch of tensors as named in replay.FIELDS.

    `judged(features, u)` is what the critics see of an action, differentiable in u; by default u itself.
    """

    def __init__(self, actor: Actor, critic: Critic, config: SacConfig, judged: Judged = lambda features, u: u):
        self.config, self.actor, self.critic, self.judged = config, actor, critic, judged
        self.dims = actor.heads.dims
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.average = copy.deepcopy(self.actor).requires_grad_(False)  # acts: the last iterate swings
        self.target_entropy = config.target_entropy * torch.tensor(self.dims)
        self.log_temperature = torch.full((len(self.dims),), math.log(config.temperature), requires_grad=True)
        adam = {"lr": config.learning_rate, "fused": True}
        self.optimisers = {
            "critic": torch.optim.Adam(self.critic.parameters(), **adam),
            "actor": torch.optim.Adam(self.actor.parameters(), **adam),
            "temperature": torch.optim.Adam([self.log_temperature], **adam),
        }
        self.updates = 0

    def critic_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Squared error to r + discount * bootstrap * V(s'), V = min_i Q_i'(s', u') with u' ~ actor.

        The minimum is over all critics or over `target_critics` drawn ones (REDQ, arXiv 2101.05982); with
        `entropy_backup` V also counts the entropy of u'.
        """
        with torch.no_grad():
            following = batch["next_features"]
            u, log_prob = self.actor.sample(following, torch.randn(len(following), self.actor.dim))
            values = self.target(following, self.judged(following, u))
            if self.config.target_critics:
                values = values[torch.randperm(len(values))[: self.config.target_critics]]
            value = values.min(0).values
            if self.config.entropy_backup:
                value = value - (self.log_temperature.exp() * self._by_head(log_prob)).sum(-1)
            goal = batch["reward"] + self.config.discount * batch["bootstrap"] * value
        q = self.critic(batch["features"], batch["action"])
        loss = (q - goal).square().mean()
        return loss, {"critic/loss": loss.detach(), "critic/q": q.detach()}

    def actor_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict]:
        """E[temperature * log pi - Q], each head with its own temperature; and the temperatures' loss."""
        features = batch["features"]
        u, log_prob = self.actor.sample(features, torch.randn(len(features), self.actor.dim))
        by_head = self._by_head(log_prob)
        temperature = self.log_temperature.exp()
        values = self.critic(features, self.judged(features, u))
        value = values.min(0).values if self.config.actor_q == "min" else values.mean(0)
        loss = ((temperature.detach() * by_head).sum(-1) - value).mean()
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

    def _by_head(self, log_prob: Tensor) -> Tensor:
        """Log-density [n, heads] of each head, from that of each dimension [n, m]."""
        return torch.stack([part.sum(-1) for part in log_prob.split(self.dims, -1)], -1)

    @staticmethod
    def _follow(average: Ensemble, network: Ensemble, rate: float) -> None:
        average.theta.data.lerp_(network.theta.data, rate)

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
