"""The small networks that steer the base: the actor over u (policy/heads.py), the critics that also rank candidates."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tmrl_ros.policy.ensemble import Ensemble
from tmrl_ros.policy.heads import Heads

LOG_STD = (-5.0, 1.0)


class Critic(Ensemble):
    """Q(features, action): [members, n], the return from a decision on; `action` is what Steering.judged says."""

    def __init__(self, members: int, feature_dim: int, action_dim: int, width: int):
        super().__init__(members, [feature_dim + action_dim, width, width, 1])

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        return super().forward(torch.cat([features, action], -1)).squeeze(-1)


class Actor(Ensemble):
    """Tanh-squashed Gaussian over u, given standardised features [n, feature_dim]."""

    def __init__(self, feature_dim: int, heads: Heads, width: int):
        super().__init__(1, [feature_dim, width, width, 2 * heads.dim])
        self.heads, self.dim = heads, heads.dim
        with torch.no_grad():
            *_, weight, bias = self.parts()
            weight.mul_(0.1)  # starts near heads.start() everywhere
            mean, spread = heads.start()
            bias[0, 0] = torch.cat([mean, spread.log()])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the squashing, each [n, dim]."""
        mean, log_std = super().forward(features)[0].chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD)

    def sample(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """u [n, dim] from standard normal `noise` [n, dim], and its log-density per dimension [n, dim]."""
        mean, log_std = self(features)
        raw = mean + log_std.exp() * noise
        squash = 2 * (math.log(2) - raw - F.softplus(-2 * raw))  # log(1 - tanh(raw)^2), stable
        return raw.tanh(), -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - squash
