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

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        shift, scale, gate = self.modulate(embedding).chunk(3, -1)
        normed = F.layer_norm(h, h.shape[-1:]) * (1.0 + scale) + shift
        return h + gate * self.down(F.silu(self.up(normed)))


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
        embedding = self.embed(torch.cat([sinusoid(tau), sinusoid(sigma)], -1))
        h = self.enter(torch.cat([x, context], -1))
        for block in self.blocks:
            h = block(h, embedding)
        return self.leave(F.layer_norm(h, h.shape[-1:]))
