"""Several MLPs as one: the networks of actor and critics."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
