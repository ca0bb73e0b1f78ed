"""Soft actor-critic over what steers a frozen base (TMRL, arXiv 2605.12236; DSRL is the same with z alone).

One action is one decision: u picks the chunk. Rewards are -1 and 0 at success; a time-out bootstraps, an end does not.
Gradients are written out: with small networks autograd would take a third of the time.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.config import SacConfig
from tmrl_ros.learner.adam import Adam, blocks
from tmrl_ros.policy.actor import Actor, Critic, Draw
from tmrl_ros.policy.ensemble import Ensemble, Trace

ROWS = 32  # products are of multiples of it: for each new size the library writes a kernel, which takes 10 ms
Judged = Callable[[Tensor, Tensor], Tensor]


class Sac:
    """Networks, optimisers and temperatures; `update` takes one batch of arrays as named in replay.FIELDS.

    `judged(features, u)` is what the critics see of an action, differentiable in u; by default u itself.
    """

    def __init__(self, actor: Actor, critic: Critic, config: SacConfig, judged: Judged = lambda features, u: u):
        self.config, self.actor, self.critic, self.judged = config, actor, critic, judged
        dims = torch.tensor(actor.heads.dims)
        self.by_head = torch.eye(len(dims)).repeat_interleave(dims, 0)  # [m, heads]: log-densities @ it, summed by head
        self.target_entropy = config.target_entropy * dims
        self.log_temperature = torch.full((len(dims),), math.log(config.temperature))
        for network in (actor, critic):
            network.precision = getattr(torch, config.precision)
        self.target = copy.deepcopy(critic).requires_grad_(False)
        self.average = copy.deepcopy(actor).requires_grad_(False)  # acts: the last iterate swings
        self.average.precision = torch.float32
        self.log_temperature.grad = torch.zeros_like(self.log_temperature)
        if config.precision == "float32":
            for network in (actor, critic):
                network.theta.grad = torch.zeros_like(network.theta)
        self.optimisers = {
            "critic": Adam([critic.theta], config.learning_rate),
            "actor": Adam([actor.theta, self.log_temperature], config.learning_rate),
        }
        self.updates = 0

    @torch.no_grad()
    def update(self, batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """One critic update and, every `actor_period`-th time, one of actor and temperatures; returns raw metrics."""
        batch = {name: torch.as_tensor(value) for name, value in batch.items()}
        self.updates += 1
        turn, left = divmod(self.updates, self.config.actor_period)
        info = self.gradients(batch, actors_turn=left == 0)
        if left == 0:
            rate = self._rate(self.config.actor_average, turn)
            self._descend("actor", self.actor, self.average, rate, self.log_temperature.grad)
        self._descend("critic", self.critic, self.target, self._rate(self.config.polyak, self.updates))
        return info

    def _rate(self, rate: float, step: int) -> float:
        """How far a follower goes at this step: nowhere, or as far as in all of `target_period` steps."""
        period = self.config.target_period
        return 0.0 if step % period else 1 - (1 - rate) ** period

    def _descend(self, name: str, network: Ensemble, follower: Ensemble, rate: float, *further: Tensor) -> None:
        """One step of that optimiser; the follower comes after at `rate`, if any, both ready for the next pass."""
        moved = [network, follower] if rate else [network]
        own, other = blocks(network.theta), blocks(follower.theta)
        copies = [(blocks(net.theta), blocks(net.copy)) for net in moved if net.copy is not net.theta]

        def follow(n: int) -> None:
            if rate:
                other[n].lerp_(own[n], rate)
            for exact, rough in copies:
                rough[n].copy_(exact[n])

        self.optimisers[name].step([network.gradient, *further], follow)
        for net in moved:
            net.lowered()

    def goal(self, batch: dict[str, Tensor]) -> Tensor:
        """What Q(s, a) is to be [n]: r + discount * bootstrap * V(s'), V = min_i Q_i'(s', u') with u' ~ actor.

        The minimum is over all critics or over `target_critics` drawn ones (REDQ, arXiv 2101.05982); with
        `entropy_backup` V also counts the entropy of u'.
        """
        following = batch["next_features"]
        seen = following.to(self.critic.precision)  # once for both networks
        draw = self.actor.draw(seen)
        values = self.target(seen, self.judged(following, draw.u))
        if self.config.target_critics:
            values = values[torch.randperm(len(values))[: self.config.target_critics]]
        value = values.amin(0)
        if self.config.entropy_backup:
            value = value - draw.log_prob() @ self.by_head @ self.log_temperature.exp()
        return batch["reward"] + self.config.discount * batch["bootstrap"] * value

    def gradients(self, batch: dict[str, Tensor], actors_turn: bool) -> dict[str, Tensor]:
        """Those of the critics into critic.gradient and, if it is their turn, of actor and temperatures; metrics."""
        goal, features, action = self.goal(batch), batch["features"], batch["action"]
        seen = features.to(self.critic.precision)
        if not actors_turn:
            return self._critic_gradient(*self.critic.trace(seen, action), goal)
        out, trace = self.actor.trace(seen)
        draw = Draw(out[0], torch.randn(len(features), self.actor.dim))
        with torch.enable_grad():
            u = draw.u.detach().requires_grad_()
            chosen = self.judged(features, u)
        shown, judged = self.critic.trace_each(seen, action, chosen.detach())
        info = self._critic_gradient(*shown, goal)
        g = self._ascent(*judged, features.shape[-1])
        g = g if chosen is u else torch.autograd.grad(chosen, u, g)[0]
        return info | self._actor_gradient(draw, trace, g)

    def _critic_gradient(self, q: Tensor, trace: list[Trace], goal: Tensor) -> dict[str, Tensor]:
        """Of mean (Q_i(s, a) - goal)^2 over rows and critics."""
        error = q - goal[:, None]
        self.critic.pull_back(trace, error * (2 / error.numel()), parameters=True)
        return {"critic/loss": error.square().mean(), "critic/q": q}

    def _actor_gradient(self, draw: Draw, trace: list[Trace], g: Tensor) -> dict[str, Tensor]:
        """Of E[temperature * log pi - Q], each head with its own temperature, and of the temperatures' loss,
        -log temperature * (log pi + target entropy): into actor.gradient and log_temperature.grad; `g` is -Q's by u."""
        temperature = self.log_temperature.exp()
        g = draw.pull_back(g, self.by_head @ temperature / len(g))
        self.actor.pull_back(trace, g[None], parameters=True)
        log_prob = draw.log_prob() @ self.by_head
        self.log_temperature.grad = -(log_prob.mean(0) + self.target_entropy)
        return {"actor/entropy": -log_prob.sum(-1), "actor/temperature": temperature}

    def _ascent(self, q: Tensor, trace: list[Trace], first: int) -> Tensor:
        """Gradient [n, m] of E[-Q] by what the critics judge, their columns from `first` on; Q is the least or mean."""
        rate, inputs = -1 / q.shape[1], slice(first, None)
        if self.config.actor_q == "mean":
            return self.critic.pull_back(trace, torch.full_like(q, rate / len(q)), inputs=inputs)
        if not self.critic.large:
            g = torch.zeros_like(q).scatter_(0, q.argmin(0, keepdim=True), rate)
            return self.critic.pull_back(trace, g, inputs=inputs)
        least, parts, order = q[..., 0].argmin(0), [], []
        for k in least.unique().tolist():  # the same, of each critic only for the rows where it is the least
            rows = (least == k).nonzero()[:, 0]
            whole = torch.cat([rows, rows[:1].expand(-len(rows) % ROWS)])
            g = self.critic.pull_back([trace[k].of(whole)], torch.full((1, len(whole), 1), rate), inputs=inputs)
            parts.append(g[: len(rows)])
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]
