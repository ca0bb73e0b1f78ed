"""The small networks that steer the base: the actor over u (policy/heads.py), the critics that also rank candidates."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tmrl_ros.policy.ensemble import Ensemble
from tmrl_ros.policy.heads import Heads

LOG_STD = (-5.0, 1.0)
LOG_NORM = 0.5 * math.log(2 * math.pi) + 2 * math.log(2)
_clamp_backward = torch.ops.aten.hardtanh_backward


class Critic(Ensemble):
    """Q(features, action): [members, n], the return from a decision on; `action` is what Steering.judged says."""

    def __init__(self, members: int, feature_dim: int, action_dim: int, width: int, layers: int = 2):
        super().__init__(members, [feature_dim + action_dim, *[width] * layers, 1])

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        return super().forward(features, action).squeeze(-1)


class Draw:
    """u = tanh(mean + std * noise) [n, m], from an actor's output [n, 2 m] and standard normal `noise` [n, m]."""

    def __init__(self, out: Tensor, noise: Tensor):
        self.precision = out.dtype
        mean, self.free = out.float().chunk(2, -1)
        self.noise, self.log_std = noise, self.free.clamp(*LOG_STD)
        self.push = self.log_std.exp() * noise
        self.raw = mean + self.push
        self.u = self.raw.tanh()

    def log_prob(self) -> Tensor:
        """Log-density of u per dimension [n, m]."""
        squash = F.softplus(-2 * self.raw).add_(self.raw)  # log 2 - log(1 - tanh(raw)^2) / 2, stable
        normal = torch.addcmul(self.log_std, self.noise, self.noise, value=0.5)
        return squash.mul_(2).sub_(normal).sub_(LOG_NORM)

    def pull_back(self, g: Tensor, weight: Tensor) -> Tensor:
        """Gradient [n, 2 m] by the actor's output of a loss with `g` [n, m] by u and `weight` [m] by log_prob."""
        by_mean = torch.addcmul(g, self.u, 2 * weight - g * self.u)  # du / draw = 1 - u^2, dlog_prob / draw = 2 u
        by_log_std = _clamp_backward((by_mean * self.push).sub_(weight), self.free, *LOG_STD)
        out = torch.empty(len(g), 2 * g.shape[-1], dtype=self.precision)
        for half, part in zip(out.chunk(2, -1), (by_mean, by_log_std), strict=True):
            half.copy_(part)
        return out


class Actor(Ensemble):
    """Tanh-squashed Gaussian over u, given standardised features [n, feature_dim]."""

    exact = False

    def __init__(self, feature_dim: int, heads: Heads, width: int, layers: int = 2):
        super().__init__(1, [feature_dim, *[width] * layers, 2 * heads.dim])
        self.heads, self.dim = heads, heads.dim
        with torch.no_grad():
            *_, weight, bias = self.parts()
            weight.mul_(0.1)  # starts near heads.start() everywhere
            mean, spread = heads.start()
            bias[0, 0] = torch.cat([mean, spread.log()])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the squashing, each [n, dim]."""
        mean, log_std = super().forward(features)[0].float().chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD)

    def sample(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """u [n, dim] from standard normal `noise` [n, dim], and its log-density per dimension [n, dim]."""
        draw = self.draw(features, noise)
        return draw.u, draw.log_prob()

    def draw(self, features: Tensor, noise: Tensor | None = None) -> Draw:
        """As `sample`, without the log-density unless it is asked for; by default the noise is drawn."""
        noise = torch.randn(len(features), self.dim) if noise is None else noise
        return Draw(super().forward(features)[0], noise)
