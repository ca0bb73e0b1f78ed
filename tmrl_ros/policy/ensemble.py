"""Several MLPs as one: the networks of actor and critics."""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

EPS = 1e-5
LARGE = 2_000_000  # weights from which the arithmetic costs more than the calls
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward
_relu_backward = torch.ops.aten.threshold_backward


class Trace(NamedTuple):
    """What a forward pass leaves for its way back."""

    parts: list[Tensor]  # weights and biases as they were used
    inputs: list[Tensor]  # of each layer [members, n, in]
    norms: list[tuple[Tensor, Tensor, Tensor]]  # of each hidden layer: what was normalised, its mean, 1 / its std

    def of(self, member: int, rows: Tensor) -> "Trace":
        """What one member did with some rows, as the trace of an ensemble of one; not for gradients by parameters."""

        def pick(values: Tensor) -> Tensor:
            return values[member].index_select(0, rows)[None]

        norms = [(pick(y), pick(mean), pick(rstd)) for y, mean, rstd in self.norms]
        inputs = [self.inputs[0], *map(pick, self.inputs[1:])]  # the first ones are wide, and only their type is needed
        return Trace([part[member : member + 1] for part in self.parts], inputs, norms)


class Ensemble(nn.Module):
    """`members` independent MLPs with layer norm, evaluated as batched matrix products: [n, in] -> [members, n, out].

    All weights are one flat parameter: at this size an optimiser's cost is its calls, not its arithmetic. For the same
    reason `trace` and `pull_back` give gradients without autograd, which can be used as well.

    `precision` is that of the matrix products and of what passes between them. The parameter and the statistics are
    float32, and so, if `exact`, is the last layer: a return of -33 in bfloat16 is uncertain by 0.1.
    """

    exact = True

    def __init__(self, members: int, dims: list[int]):
        super().__init__()
        pairs = list(itertools.pairwise(dims))
        self.members, self.precision = members, torch.float32
        self.shapes = [shape for fan_in, out in pairs for shape in ((members, fan_in, out), (members, 1, out))]
        bounds = [fan_in**-0.5 for fan_in, _ in pairs for _ in range(2)]
        parts = [torch.empty(shape).uniform_(-bound, bound) for shape, bound in zip(self.shapes, bounds, strict=True)]
        self.sizes = [part.numel() for part in parts]
        self.theta = nn.Parameter(torch.cat([part.flatten() for part in parts]))
        self.units = [(torch.ones(n), torch.zeros(n)) for n in dims[1:-1]]  # without them torch's layer norm is slower
        self.kept: dict[str, tuple[Tensor, list[Tensor]]] = {}  # flat tensors and their parts
        self.copied: tuple[int, int] | None = None  # the theta that the copy in `precision` was made of

    def parts(self) -> list[Tensor]:
        """Views of weight [members, in, out] and bias [members, 1, out] of each layer in turn."""
        return self._split(self.theta) if torch.is_grad_enabled() else self._views("theta", self.theta)

    def forward(self, x: Tensor) -> Tensor:
        return self.trace(x)[0]

    def trace(self, *columns: Tensor) -> tuple[Tensor, Trace]:
        """The output for x [n, in], given whole or as blocks of columns, and what `pull_back` needs."""
        exact = self.parts()
        parts = self._rough(exact)
        lowered = [block.to(self.precision) for block in columns]
        x = torch.cat(lowered, -1) if len(lowered) > 1 else lowered[0]
        trace = Trace(parts, [x.expand(self.members, *x.shape)], [])
        for k, unit in enumerate(self.units):
            y = self._affine(trace.inputs[-1], parts[2 * k], parts[2 * k + 1])
            normed, mean, rstd = torch.native_layer_norm(y, unit[0].shape, *unit, EPS)
            trace.norms.append((y, mean, rstd))
            trace.inputs.append(normed.relu_())
        last = trace.inputs[-1]
        if self.exact:
            return torch.baddbmm(exact[-1], last.float(), exact[-2]), trace
        return self._affine(last, parts[-2], parts[-1]).float(), trace

    def pull_back(
        self, trace: Trace, g: Tensor, parameters: bool = False, inputs: slice | None = None
    ) -> Tensor | None:
        """From the loss's gradient `g` [members, n, out]: that by theta into `gradient`, that by columns of x returned.

        `inputs` names the columns; their gradient [n, columns] is the sum over members. Call it without autograd.
        """
        grads = self._gradients() if parameters else []
        for k in reversed(range(len(trace.inputs))):
            h, weight = trace.inputs[k], trace.parts[2 * k]
            g = g.to(h.dtype)
            if parameters:
                self._products(h, g, grads[2 * k])
                torch.sum(g, 1, keepdim=True, out=grads[2 * k + 1])
            if k:
                y, mean, rstd = trace.norms[k - 1]
                g = _relu_backward(torch.bmm(g, weight.mT), h, 0)
                g = _layer_norm_backward(g, y, y.shape[-1:], mean, rstd, *self.units[k - 1], [True, False, False])[0]
        if inputs is None:
            return None
        blocks = [weight[inputs] for weight in trace.parts[0]]  # each contiguous
        return sum(torch.mm(rows, block.T).float() for rows, block in zip(g, blocks, strict=True))

    @property
    def large(self) -> bool:
        return len(self.theta) > LARGE

    def _affine(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """h weight + bias of each member: in one call, or, where calls cost less than that loses, one by one."""
        if not self.large or torch.is_grad_enabled():
            return torch.baddbmm(bias, h, weight)
        y = h.new_empty(*h.shape[:2], weight.shape[-1])
        for k in range(self.members):
            torch.mm(h[k], weight[k], out=y[k])
        return y.add_(bias)

    def _products(self, h: Tensor, g: Tensor, out: Tensor) -> None:
        """h^T g of each member; where all see one wide h, it is turned once."""
        if self.large and h.stride(0) == 0:
            turned = h[0].T.contiguous()
            for k in range(self.members):
                torch.mm(turned, g[k], out=out[k])
        else:
            torch.bmm(h.mT, g, out=out)

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split_with_sizes(flat, self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    @property
    def gradient(self) -> Tensor:
        """Where `pull_back` writes the gradient by theta, flat and in `precision`; theta.grad in float32."""
        return self.theta.grad if self.precision == torch.float32 else self._scratch("gradient")[0]

    def lower(self, block: slice) -> None:
        """Bring that block of the copy in `precision` up to date; when all of them are, say so by `lowered`."""
        if self.precision != torch.float32:
            self._scratch("theta in precision")[0][block].copy_(self.theta[block])

    def lowered(self) -> None:
        """The copy in `precision` is that of theta as it is now; any later change in place will be noticed."""
        self.copied = self.theta.data_ptr(), self.theta._version

    def _rough(self, exact: list[Tensor]) -> list[Tensor]:
        """The parts in `precision`; without autograd in memory that is kept, and copied only when theta has changed."""
        if self.precision == torch.float32:
            return exact
        if torch.is_grad_enabled():
            return self._split(self.theta.to(self.precision))
        flat, parts = self._scratch("theta in precision")
        if self.copied != (self.theta.data_ptr(), self.theta._version):
            flat.copy_(self.theta)
            self.lowered()
        return parts

    def _gradients(self) -> list[Tensor]:
        """Views of `gradient`."""
        own = self.precision == torch.float32
        return self._views("theta.grad", self.theta.grad) if own else self._scratch("gradient")[1]

    def _scratch(self, name: str) -> tuple[Tensor, list[Tensor]]:
        """Memory in `precision` of theta's size, and its parts."""
        if name not in self.kept or self.kept[name][0].dtype != self.precision:
            flat = torch.empty_like(self.theta, dtype=self.precision, requires_grad=False)
            self.kept[name], self.copied = (flat, self._split(flat)), None
        return self.kept[name]

    def _views(self, name: str, flat: Tensor) -> list[Tensor]:
        """Views of a tensor that stays where it is, made once: they would cost a tenth of a small network's update."""
        if name not in self.kept or self.kept[name][0].data_ptr() != flat.data_ptr():
            self.kept[name] = flat.detach(), self._split(flat.detach())
        return self.kept[name][1]
