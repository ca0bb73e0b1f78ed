"""What an actor chooses, part by part: a vector u in [-1, 1]^m whose heads mean flow noise, sigma, a residual, ..."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tmrl_ros.config import ActorConfig


@dataclass(frozen=True)
class Head:
    """`dim` numbers of u, which stand for values from `low` to `high`; an untrained actor is at `start`."""

    name: str  # "z", "sigma", "context_noise", "residual", "action"
    dim: int
    low: float
    high: float
    start: float
    spread: float = 1.0  # standard deviation of an untrained actor before the squashing

    def value(self, u: Tensor) -> Tensor:
        """From [-1, 1] to [low, high]."""
        return self.low + (self.high - self.low) * (u + 1) / 2

    def u(self, value: Tensor) -> Tensor:
        """The inverse of `value`; what lies outside is clipped."""
        return (2 * (value - self.low) / (self.high - self.low) - 1).clamp(-1, 1)


class Heads(tuple[Head, ...]):
    """The heads of u in order."""

    @property
    def dims(self) -> list[int]:
        return [head.dim for head in self]

    @property
    def dim(self) -> int:
        return sum(self.dims)

    def names(self) -> list[str]:
        return [head.name for head in self]

    def values(self, u: Tensor) -> dict[str, Tensor]:
        """Values [n, dim] of each head by name, of vectors u [n, m]."""
        return {head.name: head.value(part) for head, part in zip(self, u.split(self.dims, -1), strict=True)}

    def u(self, values: Mapping[str, Tensor]) -> Tensor:
        """Vectors u [n, m] of the values [n, dim] by name."""
        return torch.cat([head.u(values[head.name]) for head in self], -1)

    def start(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m] of an untrained actor, before the squashing."""
        mean = [torch.full((head.dim,), _u(head, head.start)).atanh() for head in self]
        spread = [torch.full((head.dim,), head.spread) for head in self]
        return torch.cat(mean), torch.cat(spread)


def _u(head: Head, value: float) -> float:
    return min(max(2 * (value - head.low) / (head.high - head.low) - 1, -0.96), 0.96)


def make_heads(
    config: ActorConfig, action_dim: int, action_horizon: int, execution_horizon: int, context_dim: int
) -> Heads:
    """The heads that `config` names; every bound is a safety parameter of it."""
    rows = execution_horizon if config.residual_chunk else 1
    z_dim = action_dim * (action_horizon if config.z_chunk else 1)
    known = {
        "z": Head("z", z_dim, -config.z_max, config.z_max, 0.0),
        "sigma": Head("sigma", 1, 0.0, config.sigma_max, config.sigma_start),
        "context_noise": Head(
            "context_noise", context_dim, -config.context_noise_max, config.context_noise_max, 0.0, 0.3
        ),
        "residual": Head("residual", rows * action_dim, -config.residual_max, config.residual_max, 0.0, 0.3),
        "action": Head("action", execution_horizon * action_dim, -1.0, 1.0, 0.0),
    }
    return Heads(known[name] for name in config.heads.split())
