"""Adam with nothing around its arithmetic: for small networks torch.optim's bookkeeping costs more than the step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

BETAS, EPS = (0.9, 0.999), 1e-8
BLOCK = 65_536  # elements; parameter, gradient, both moments and what follows fit into a core's cache


def blocks(flat: Tensor) -> tuple[Tensor, ...]:
    """Views that cover a flat tensor, in cache-sized pieces."""
    return flat.split(BLOCK)


class Adam(nn.Module):
    """Adam (arXiv 1412.6980) on flat `parameters`; the state is in buffers.

    Large parameters are taken block by block: memory is slow, and what follows the parameter finds it in the cache.
    """

    def __init__(self, parameters: list[Tensor], learning_rate: float):
        super().__init__()
        self.tuned, self.learning_rate = parameters, learning_rate
        self.register_buffer("steps", torch.zeros(()))
        for k, parameter in enumerate(parameters):
            self.register_buffer(f"mean{k}", torch.zeros_like(parameter, requires_grad=False))
            self.register_buffer(f"square{k}", torch.zeros_like(parameter, requires_grad=False))
        self.means, self.squares = (
            [self.get_buffer(f"{n}{k}") for k in range(len(parameters))] for n in ("mean", "square")
        )

    @torch.no_grad()
    def step(self, gradients: list[Tensor], follow: Callable[[int], None] | None = None) -> None:
        """Descend along `gradients`, of any precision; `follow` is told the number of each block of the first parameter
        when it is done."""
        self.steps += 1
        for k, flat in enumerate(zip(self.tuned, gradients, self.means, self.squares, strict=True)):
            for n, (parameter, gradient, mean, square) in enumerate(zip(*map(blocks, flat), strict=True)):
                self._descend(parameter, gradient.float(), mean, square)
                if follow and k == 0:
                    follow(n)

    def _descend(self, parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor) -> None:
        torch._fused_adam_(
            [parameter],
            [gradient],
            [mean],
            [square],
            [],
            [self.steps],
            lr=self.learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )
