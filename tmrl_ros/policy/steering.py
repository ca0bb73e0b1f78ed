"""From what the actor chose to what the robot does: the frozen base, its noise, its context, and a residual on top.

    tmrl      base(s~(sigma), z)           dsrl    base(s, z)
    rfs       base(s, z) + residual        residual  base(s, 0) + residual        rlpd      the actions themselves

Critics of methods with a residual judge the rows that run: those that saw the residual alone gave no success on robots
(RFS, arXiv 2602.01789).
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.config import ActorConfig, SteeringConfig
from tmrl_ros.policy.actor import Actor, Critic
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.heads import make_heads
from tmrl_ros.types import Modulation


class Steering:
    """How vectors u of one method become chunks of `base`."""

    def __init__(self, config: ActorConfig, base: BasePolicy, execution_horizon: int):
        self.config, self.base, self.rows = config, base, execution_horizon
        self.heads = make_heads(config, base.action_dim, base.horizon, execution_horizon, base.context_dim)
        names = set(self.heads.names())
        self.judges_action = not names.isdisjoint({"residual", "action"})
        self.sees_base = names == {"residual"}  # the base draws nothing, so what it would do can be seen

    @classmethod
    def of(cls, config: SteeringConfig, base: BasePolicy) -> "Steering":
        """The steering of a policy or a learner node."""
        return cls(config.steering, base, config.timing.execution_horizon)

    @property
    def feature_dim(self) -> int:
        """Size of what actor and critics see."""
        return self.base.feature_dim + self.sees_base * self.rows * self.base.action_dim

    @torch.no_grad()
    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What actor and critics see [n, feature_dim], of what `base.features` takes."""
        features = self.base.features(inputs)
        if not self.sees_base:
            return features
        n, horizon, dim = len(features), self.base.horizon, self.base.action_dim
        rows = self.base.sample(features, torch.zeros(n, horizon, dim), torch.zeros(1))[:, : self.rows]
        return torch.cat([features, rows.clamp(-1.0, 1.0).flatten(1)], -1)

    @property
    def judged_dim(self) -> int:
        """Size of what critics see of an action."""
        return self.rows * self.base.action_dim if self.judges_action else self.heads.dim

    def build(self, critics: int) -> tuple[Actor, Critic]:
        """Untrained networks."""
        width, layers = self.config.width, self.config.layers
        actor = Actor(self.feature_dim, self.heads, width, layers)
        return actor, Critic(critics, self.feature_dim, self.judged_dim, width, layers)

    def chunk(self, features: Tensor, u: Tensor) -> Tensor:
        """Actions [n, horizon, action_dim] in [-1, 1], differentiable in u [n, m]."""
        values, n, base = self.heads.values(u), len(u), self.base
        if "action" in values:
            rows = values["action"].view(n, self.rows, base.action_dim)
        elif self.sees_base:
            rows = features[:, base.feature_dim :].view(n, self.rows, base.action_dim)
        else:
            z = values["z"].view(n, -1, base.action_dim).expand(n, base.horizon, base.action_dim)
            sigma = values["sigma"][:, 0] if "sigma" in values else torch.full((1,), float(self.config.sigma_start))
            rows = base.sample(features, z, sigma, values.get("context_noise")).clamp(-1.0, 1.0)
        if "residual" in values:
            residual = values["residual"].view(n, -1, base.action_dim)
            rows = (rows[:, : self.rows] + residual).clamp(-1.0, 1.0)
        rest = torch.zeros(n, base.horizon - rows.shape[1], base.action_dim)  # never runs
        return torch.cat([rows, rest], 1)

    def judged(self, features: Tensor, u: Tensor) -> Tensor:
        """What critics see [n, judged_dim] if the actor chooses u: u itself, or the rows as it wishes them.

        What ran (judged_of) differs in that a step is at most one long and the hand open or closed. Critics that were
        asked about rows made so, and critics that learned from wishes, did worse (docs/decisions.md).
        """
        return self.chunk(features, u)[:, : self.rows].flatten(1) if self.judges_action else u

    def judged_of(self, features: Tensor, modulation: Modulation, actions: np.ndarray, executed: int) -> Tensor:
        """The same [judged_dim] of a decision that ran: `actions` float32 [rows, action_dim], `executed` of them.

        Rows that an ending episode cut off are those that were planned.
        """
        u = self.u(modulation)
        if not self.judges_action:
            return u
        with torch.no_grad():
            rows = self.chunk(features[None], u[None])[0, : self.rows]
        rows[:executed] = torch.as_tensor(actions[:executed])
        return rows.flatten()

    def u(self, modulation: Modulation) -> Tensor:
        """The vector u [m] that a modulation came from."""
        values = {
            "z": modulation.z,
            "sigma": np.float32([modulation.sigma]),
            "context_noise": modulation.context_noise,
            "residual": modulation.residual,
            "action": modulation.residual,
        }
        return self.heads.u({name: torch.as_tensor(values[name]) for name in self.heads.names()})

    def modulation(self, u: Tensor) -> Modulation:
        """What u [m] means, as it travels; `residual` also carries whole actions."""
        values = {name: value.numpy() for name, value in self.heads.values(u).items()}
        named = {name: values[name] for name in ("context_noise", "residual") if name in values}
        if "action" in values:
            named["residual"] = values["action"]
        z = values.get("z", np.zeros(self.base.action_dim, np.float32))
        sigma = float(values["sigma"][0]) if "sigma" in values else self.config.sigma_start
        return Modulation(z, sigma, **named)

    def bounded(self, u: Tensor, decision: int) -> Tensor:
        """u [m] drawn towards where an untrained actor starts, while the bounds are still opening."""
        config = self.config
        if decision >= config.bounds_decisions:
            return u
        share = config.bounds_start + (1 - config.bounds_start) * decision / config.bounds_decisions
        start = self.heads.start()[0].tanh()
        return start + share * (u - start)

    def prior(self, noise: Tensor) -> Tensor:
        """u [m] before any learning, from standard normal `noise` [m]: z ~ N(0, 1) within its bound."""
        mean, spread = self.heads.start()
        u = (mean + spread * noise).tanh()
        parts = [
            head.u(part) if head.name == "z" else squashed
            for head, part, squashed in zip(
                self.heads, noise.split(self.heads.dims), u.split(self.heads.dims), strict=True
            )
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def choose(self, actor: Actor, critic: Critic, features: Tensor, greedy: bool, noise: Tensor) -> Tensor:
        """One u [m] for `features` [1, d], the best by Q: of samples when exploring, of mean and samples if greedy.

        `noise` [n, m] is standard normal. Others rank actions by Q; here the candidates are (z, sigma).
        """
        if greedy:
            noise = torch.cat([torch.zeros_like(noise[:1]), noise[1:]])
        elif len(noise) == 1:
            return actor.sample(features, noise)[0][0]
        wide = features.expand(len(noise), -1)
        u, _ = actor.sample(wide, noise)
        return u[critic(wide, self.judged(wide, u)).min(0).values.argmax()]
