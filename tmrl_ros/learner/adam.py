"""Adam with nothing around its arithmetic: for small networks torch.optim's bookkeeping costs more than the step."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

BETAS, EPS = (0.9, 0.999), 1e-8
BLOCK = 65_536  # elements; parameter, gradient, both moments and what follows fit into a core's cache


def blocks(n: int) -> Iterator[slice]:
    """Slices that cover n elements, in cache-sized pieces."""
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


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
    def step(self, gradients: list[Tensor], follow: Callable[[slice], None] | None = None) -> None:
        """Descend along `gradients`, of any precision; `follow` is told each block of the first parameter when done."""
        self.steps += 1
        for k, (parameter, gradient) in enumerate(zip(self.tuned, gradients, strict=True)):
            for block in blocks(len(parameter)):
                self._descend(parameter[block], gradient[block].float(), self.means[k][block], self.squares[k][block])
                if follow and k == 0:
                    follow(block)

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
