"""Adam with nothing around its arithmetic: for small networks torch.optim's bookkeeping costs more than the step."""

import torch
from torch import Tensor, nn

BETAS, EPS = (0.9, 0.999), 1e-8


class Adam(nn.Module):
    """Adam (arXiv 1412.6980) on `parameters`, each of which has a `grad`; the state is in buffers."""

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
    def step(self) -> None:
        """Descend along the gradients that are there."""
        self.steps += 1
        torch._fused_adam_(
            self.tuned,
            [parameter.grad for parameter in self.tuned],
            self.means,
            self.squares,
            [],
            [self.steps] * len(self.tuned),
            lr=self.learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )
