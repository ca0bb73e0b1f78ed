"""The velocity network of the flow-matching chunk policy: a residual MLP, told (tau, sigma) by AdaLN in every block."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMBED_DIM = 32


def sinusoid(value: Tensor, dim: int = EMBED_DIM) -> Tensor:
    """Sinusoidal embedding of `value` [n] in [0, 1] at `dim`/2 frequencies from 1 to 100 rad, as float32 [n, dim]."""
    frequencies = torch.exp(torch.linspace(0.0, math.log(100.0), dim // 2, device=value.device))
    angles = value[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


class AdaBlock(nn.Module):
    """Residual MLP block whose layer norm is shifted, scaled and gated by the embedding of (tau, sigma)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.modulate = nn.Linear(width, 3 * width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        nn.init.zeros_(self.modulate.weight)  # every block starts as the identity
        nn.init.zeros_(self.modulate.bias)

    def modulation(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shift, scale and gate, each [..., width], of embeddings [..., width]."""
        shift, scale, gate = self.modulate(embedding).chunk(3, -1)
        return shift, 1.0 + scale, gate

    def forward(self, h: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        normed = torch.addcmul(shift, F.layer_norm(h, h.shape[-1:]), scale)
        return torch.addcmul(h, gate, self.down(F.silu(self.up(normed))))


class VelocityNetwork(nn.Module):
    """v(x_tau, tau, c~, sigma) for a flattened chunk x [n, chunk_dim] and context c~ [n, context_dim]."""

    def __init__(self, chunk_dim: int, context_dim: int, width: int, layers: int):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(2 * EMBED_DIM, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.enter = nn.Linear(chunk_dim + context_dim, width)
        self.blocks = nn.ModuleList(AdaBlock(width, 2 * width) for _ in range(layers))
        self.leave = nn.Linear(width, chunk_dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, tau: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        modulations = self._modulations(tau, sigma)
        return self._velocity(self.enter(torch.cat([x, context], -1)), modulations)

    def integrate(self, x: Tensor, context: Tensor, sigma: Tensor, steps: int) -> Tensor:
        """x at tau = 0, from `x` [n, chunk_dim] at tau = 1 in Euler steps; `sigma` [n] or [1].

        What does not depend on x is computed once, for all steps together.
        """
        of_x, of_context = self.enter.weight.split([x.shape[-1], context.shape[-1]], 1)
        entered = F.linear(context, of_context, self.enter.bias)
        tau = 1.0 - torch.arange(steps) / steps
        modulations = self._modulations(tau.repeat_interleave(len(sigma)), sigma.repeat(steps))
        by_step = [[part.view(steps, len(sigma), -1).unbind() for part in block] for block in modulations]
        for k in range(steps):
            velocity = self._velocity(entered + F.linear(x, of_x), [[part[k] for part in block] for block in by_step])
            x = torch.sub(x, velocity, alpha=1.0 / steps)
        return x

    def _modulations(self, tau: Tensor, sigma: Tensor) -> list[tuple[Tensor, ...]]:
        """What the embedding of (tau, sigma), each [n], tells each block."""
        embedding = self.embed(torch.cat([sinusoid(tau), sinusoid(sigma)], -1))
        return [block.modulation(embedding) for block in self.blocks]

    def _velocity(self, h: Tensor, modulations: list) -> Tensor:
        for block, modulation in zip(self.blocks, modulations, strict=True):
            h = block(h, *modulation)
        return self.leave(F.layer_norm(h, h.shape[-1:]))
