"""Small encoders of point clouds and images, trained with the policy and frozen with it.

Every embedding is scaled to unit RMS, so that unit noise means the same to all of them: smoothing corrupts embeddings,
never pixels or points, and the encoder is not told sigma (TMRL, arXiv 2605.12236).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmrl_ros.errors import ConfigError


class Encoder(nn.Module):
    """From one input [n, ...] to embeddings [n, dim] of unit RMS.

    With `beside` > 0 the last layer also takes the standardised state [n, beside]: where an object is from the hand is
    a difference of both, and a small embedding under noise comes to hold just that.
    """

    def __init__(self, pooled: int, dim: int, beside: int = 0):
        super().__init__()
        self.pooled, self.beside, self.leave = pooled, beside, nn.Linear(pooled + beside, dim)

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take constants from the data [n, ...], and start with embeddings that differ between its rows."""
        self.fit_scale(values)
        pooled = self.pool(values[:: max(1, len(values) // 256)])
        spread = pooled.std(0).mean().clamp(min=1e-6)
        seen = self.leave.weight[:, : pooled.shape[1]]
        seen.div_(spread)
        self.leave.bias.copy_(-seen @ pooled.mean(0))

    def fit_scale(self, values: Tensor) -> None:
        """Take the constants that centre and scale `values` [n, ...]."""
        raise NotImplementedError

    def pool(self, values: Tensor) -> Tensor:
        """A vector [n, pooled] of each of `values` [n, ...]."""
        raise NotImplementedError

    def forward(self, values: Tensor, state: Tensor | None = None) -> Tensor:
        """Embeddings of `values` [n, ...]; `state` [n, beside], standardised, where it is seen beside them."""
        return self.embed(self.pool(values), state)

    def embed(self, pooled: Tensor, state: Tensor | None = None) -> Tensor:
        """Embeddings of what `pool` made [n, pooled]."""
        x = self.leave(torch.cat([pooled, state], -1) if self.beside else pooled)
        return F.rms_norm(x, x.shape[-1:])


class CloudEncoder(Encoder):
    """A cloud [n, points, 3 or 6]: the same MLP for every point, then the maximum over them, so order means nothing."""

    def __init__(self, channels: int, dim: int, width: int, beside: int = 0):
        super().__init__(width, dim, beside)
        self.lift = nn.Linear(channels, width)
        self.mix = nn.Linear(width, width)
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    def fit_scale(self, values: Tensor) -> None:
        """One scale for the three axes, and one for the colours: shapes stay what they are."""
        self.centre.copy_(values.mean((0, 1)))
        for part in (slice(0, 3), slice(3, None)):
            if len(self.scale[part]):
                self.scale[part] = values[..., part].std((0, 1)).mean().clamp(min=1e-3)

    def pool(self, values: Tensor) -> Tensor:
        h = F.relu(self.lift((values - self.centre) / self.scale))
        return F.layer_norm(self.mix(h).amax(1), (self.mix.out_features,))


class ImageEncoder(Encoder):
    """An image uint8 [n, height, width, 3]: strided convolutions, then where in the image each channel is bright.

    That place is the mean pixel under a softmax, in -1 .. 1 along x and y.
    """

    def __init__(self, dim: int, width: int, beside: int = 0):
        super().__init__(width, dim, beside)
        few, many = width // 4, width // 2
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(3, few, 5, 2, 2), nn.Conv2d(few, many, 3, 2, 1), nn.Conv2d(many, many, 3, 1, 1)]
        )
        self.sharpness = nn.Parameter(torch.zeros(many, 1))
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("scale", torch.ones(3))

    def fit_scale(self, values: Tensor) -> None:
        some = values[:: max(1, len(values) // 256)].float().flatten(0, 2)
        self.centre.copy_(some.mean(0))
        self.scale.copy_(some.std(0).clamp(min=1.0))

    def pool(self, values: Tensor) -> Tensor:
        h = ((values.float() - self.centre) / self.scale).movedim(-1, 1)
        for layer in self.convolutions[:-1]:
            h = F.relu(layer(h))
        h = self.convolutions[-1](h)
        rows, columns = h.shape[-2:]
        weight = (F.layer_norm(h.flatten(2), (rows * columns,)) * self.sharpness.exp()).softmax(-1).view_as(h)
        x = (weight.sum(-2) * torch.linspace(-1, 1, columns)).sum(-1)
        y = (weight.sum(-1) * torch.linspace(-1, 1, rows)).sum(-1)
        return torch.cat([x, y], -1)


def make_encoder(name: str, shape: tuple[int, ...], dim: int, width: int, beside: int = 0) -> Encoder:
    """The encoder of an input of `shape`, [points, 3 or 6] or [height, width, 3], that sees `beside` state entries."""
    if len(shape) == 2 and shape[1] in (3, 6) and shape[0] > 0:
        return CloudEncoder(shape[1], dim, width, beside)
    if len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= 8:
        return ImageEncoder(dim, width, beside)
    raise ConfigError(
        f"no encoder for {name!r} of shape {list(shape)}; a cloud is [points, 3 or 6], an image [height, width, 3] of "
        "at least 8 px"
    )
