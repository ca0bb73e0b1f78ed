"""The small networks that steer the base: the actor over (z, sigma) and the critic ensemble that also ranks candidates.

A modulation is handled as a vector u in [-1, 1]^m: z / z_max, then (if learned) sigma mapped from [0, sigma_max].
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmrl_ros.config import ActorConfig

LOG_STD = (-5.0, 1.0)


class Ensemble(nn.Module):
    """`members` independent MLPs with layer norm, evaluated as batched matrix products: [n, in] -> [members, n, out].

    All weights are one flat parameter: at this size an optimiser's cost is its calls, not its arithmetic.
    """

    def __init__(self, members: int, dims: list[int]):
        super().__init__()
        pairs = list(itertools.pairwise(dims))
        self.shapes = [shape for fan_in, out in pairs for shape in ((members, fan_in, out), (members, 1, out))]
        bounds = [fan_in**-0.5 for fan_in, _ in pairs for _ in range(2)]
        parts = [torch.empty(shape).uniform_(-bound, bound) for shape, bound in zip(self.shapes, bounds, strict=True)]
        self.sizes = [part.numel() for part in parts]
        self.theta = nn.Parameter(torch.cat([part.flatten() for part in parts]))

    def parts(self) -> list[Tensor]:
        """Views of weight [members, in, out] and bias [members, 1, out] of each layer in turn."""
        return [part.view(shape) for part, shape in zip(self.theta.split(self.sizes), self.shapes, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        parts = self.parts()
        h = x.expand(self.shapes[0][0], *x.shape)
        for k in range(0, len(parts), 2):
            h = torch.baddbmm(parts[k + 1], h, parts[k])
            if k + 2 < len(parts):
                h = F.layer_norm(h, h.shape[-1:]).relu_()
        return h


class Critic(Ensemble):
    """Q(features, u): [members, n], the return from a decision on."""

    def __init__(self, members: int, feature_dim: int, modulation_dim: int, width: int):
        super().__init__(members, [feature_dim + modulation_dim, width, width, 1])

    def forward(self, features: Tensor, u: Tensor) -> Tensor:
        return super().forward(torch.cat([features, u], -1)).squeeze(-1)


class Actor(Ensemble):
    """Tanh-squashed Gaussian over u, given standardised features [n, feature_dim]."""

    def __init__(self, feature_dim: int, z_dim: int, config: ActorConfig):
        dim = z_dim + config.learn_sigma
        super().__init__(1, [feature_dim, config.width, config.width, 2 * dim])
        self.config, self.z_dim, self.dim = config, z_dim, dim
        with torch.no_grad():
            *_, weight, bias = self.parts()
            weight.mul_(0.1)  # starts near z ~ N(0, z_max tanh(1)) everywhere and sigma near sigma_start
            bias.zero_()
            if config.learn_sigma:
                share = min(max(config.sigma_start / config.sigma_max, 0.02), 0.98)
                bias[0, 0, z_dim] = math.atanh(2 * share - 1)

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

    def split(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """z [n, z_dim] and sigma [n] of modulation vectors u [n, dim]."""
        z = self.config.z_max * u[:, : self.z_dim]
        if not self.config.learn_sigma:
            return z, torch.full((len(u),), float(self.config.sigma_start))
        return z, self.config.sigma_max * (u[:, self.z_dim] + 1) / 2

    def join(self, z: Tensor, sigma: Tensor) -> Tensor:
        """The inverse of `split`: modulation vectors u [n, dim]; a z beyond its bound is clipped."""
        u = (z / self.config.z_max).clamp(-1, 1) if self.config.z_max else z
        if not self.config.learn_sigma:
            return u
        return torch.cat([u, 2 * sigma[:, None] / self.config.sigma_max - 1], -1)


@torch.no_grad()
def choose(actor: Actor, critic: Critic, features: Tensor, greedy: bool, noise: Tensor) -> Tensor:
    """One u [1, dim] for `features` [1, d]: exploring takes the first sample; greedy the best by Q of mean and samples.

    `noise` [candidates, dim] is standard normal. Others rank actions by Q; here the candidates are (z, sigma).
    """
    if not greedy:
        return actor.sample(features, noise[:1])[0]
    noise = torch.cat([torch.zeros_like(noise[:1]), noise[1:]])
    wide = features.expand(len(noise), -1)
    u, _ = actor.sample(wide, noise)
    return u[critic(wide, u).min(0).values.argmax()][None]
