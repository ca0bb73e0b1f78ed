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
    """What a forward pass leaves for its way back: of all members, or of one and then without their axis."""

    parts: list[Tensor]  # weights and biases as they were used
    columns: list[Tensor]  # the input [members, n, in], or blocks of its columns [n, in]
    inputs: list[Tensor]  # of each further layer [members, n, in]
    norms: list[tuple[Tensor, Tensor, Tensor]]  # of each hidden layer: what was normalised, its mean, 1 / its std

    def of(self, rows: Tensor | slice) -> "Trace":
        """What one member did with some rows, but for `columns`, which gradients by parameters need."""

        def pick(values: Tensor) -> Tensor:
            return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)

        return self._replace(inputs=[*map(pick, self.inputs)], norms=[tuple(map(pick, norm)) for norm in self.norms])


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

    def forward(self, *columns: Tensor) -> Tensor:
        """The output for x [n, in], given whole or as blocks of columns."""
        return self.trace(*columns, keep=False)[0]

    def trace(self, *columns: Tensor, keep: bool = True) -> tuple[Tensor, list[Trace]]:
        """The output for x [n, in], given whole or as blocks of columns, and what `pull_back` needs.

        A large ensemble takes its members one by one, so that what passes between layers stays in the cache. Unless it
        is to `keep` a trace, it also uses its memory again.
        """
        exact = self.parts()
        parts = self._rough(exact)
        lowered = [block.to(self.precision) for block in columns]
        if not self.large or torch.is_grad_enabled():
            x = torch.cat(lowered, -1) if len(lowered) > 1 else lowered[0]
            out, trace = self._run(parts, exact[-2:], [x.expand(self.members, *x.shape)], keep)
            return out, [trace]
        own = [([part[k] for part in parts], [part[k] for part in exact[-2:]]) for k in range(self.members)]
        runs = [self._run(parts, last, lowered, keep) for parts, last in own]
        return torch.stack([out for out, _ in runs]), [trace for _, trace in runs]

    def trace_each(self, first: Tensor, *seconds: Tensor) -> list[tuple[Tensor, list[Trace]]]:
        """`trace` of the columns `first` and each of `seconds`; a large ensemble reads its weights once for all."""
        if not self.large:
            return [self.trace(first, second) for second in seconds]
        first, *lowered = (block.to(self.precision) for block in (first, *seconds))
        out, traces = self.trace(first, torch.cat(lowered))
        found = []
        for k, second in enumerate(lowered):
            rows = slice(k * len(first), (k + 1) * len(first))
            found.append((out[:, rows], [trace.of(rows)._replace(columns=[first, second]) for trace in traces]))
        return found

    def _run(self, parts: list[Tensor], exact: list[Tensor], columns: list[Tensor], keep: bool) -> tuple[Tensor, Trace]:
        """Output and trace of all members, or of one whose tensors have no axis for members.

        The second block may have a multiple of the first one's rows, each of them then for several.
        """
        affine = torch.baddbmm if columns[0].dim() == 3 else torch.addmm
        weights = parts[0].split([block.shape[-1] for block in columns], -2)
        y = affine(parts[1], columns[0], weights[0])
        for block, weight in zip(columns[1:], weights[1:], strict=True):
            y = affine(y.repeat(len(block) // len(y), 1), block, weight)
        trace = Trace(parts, columns, [], [])
        h = None
        for k, unit in enumerate(self.units):
            y = affine(parts[2 * k + 1], h, parts[2 * k]) if k else y
            h, mean, rstd = torch.native_layer_norm(y, unit[0].shape, *unit, EPS)
            h.relu_()
            if keep:
                trace.norms.append((y, mean, rstd))
                trace.inputs.append(h)
        if self.exact:
            return affine(exact[1], h.float(), exact[0]), trace
        return affine(parts[-1], h, parts[-2]), trace

    def pull_back(
        self, traces: list[Trace], g: Tensor, parameters: bool = False, inputs: slice | None = None
    ) -> Tensor | None:
        """From the loss's gradient `g` [members, n, out]: that by theta into `gradient`, that by columns of x returned.

        `inputs` names the columns; their gradient [n, columns] is the sum over members. Call it without autograd.
        """
        if traces[0].columns[0].dim() == 3:
            pairs = zip(
                self._back(traces[0], g, self._gradients() if parameters else []), traces[0].parts[0], strict=True
            )
        else:
            grads = self._gradients() if parameters else []
            turned = [block.T.contiguous() for block in traces[0].columns] if parameters else []  # once for all members
            pairs = [
                (self._back(trace, g[k], [part[k] for part in grads], turned), trace.parts[0])
                for k, trace in enumerate(traces)
            ]
        if inputs is None:
            return None
        return sum(torch.mm(rows, weight[inputs].T).float() for rows, weight in pairs)

    def _back(self, trace: Trace, g: Tensor, grads: list[Tensor], turned: list[Tensor] = ()) -> Tensor:
        """Down to the first layer's output, whose gradient is returned; that by parts goes into `grads`, if any."""
        product = torch.bmm if g.dim() == 3 else torch.mm
        for k in reversed(range(len(trace.norms) + 1)):
            g = g.to(trace.parts[0].dtype)
            if grads:
                if k:
                    product(trace.inputs[k - 1].mT, g, out=grads[2 * k])
                elif turned:
                    parts = grads[0].split([len(block) for block in turned])
                    for block, part in zip(turned, parts, strict=True):
                        torch.mm(block, g, out=part)
                else:
                    product(trace.columns[0].mT, g, out=grads[0])
                torch.sum(g, -2, keepdim=True, out=grads[2 * k + 1])
            if k:
                y, mean, rstd = trace.norms[k - 1]
                g = _relu_backward(product(g, trace.parts[2 * k].mT), trace.inputs[k - 1], 0)
                g = _layer_norm_backward(g, y, y.shape[-1:], mean, rstd, *self.units[k - 1], [True, False, False])[0]
        return g

    @property
    def large(self) -> bool:
        return len(self.theta) > LARGE

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split_with_sizes(flat, self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    @property
    def gradient(self) -> Tensor:
        """Where `pull_back` writes the gradient by theta, flat and in `precision`; theta.grad in float32."""
        return self.theta.grad if self.precision == torch.float32 else self._scratch("gradient")[0]

    @property
    def copy(self) -> Tensor:
        """Flat theta as the products use it, in `precision`: theta itself in float32; see `lowered`."""
        return self.theta if self.precision == torch.float32 else self._scratch("theta in precision")[0]

    def lowered(self) -> None:
        """The copy in `precision` has been made that of theta as it is now; any later change will be noticed."""
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
