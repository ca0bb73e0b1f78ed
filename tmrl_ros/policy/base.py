"""The base policy: a flow-matching chunk policy, pre-trained with or without context smoothing, frozen afterwards.

Flow time: tau = 1 is noise, tau = 0 the action; x_tau = tau n + (1 - tau) a; the network learns v = n - a
(arXiv 2605.12236).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from pydantic import Field, StrictInt
from torch import Tensor, nn

from tmrl_ros.config import BaseConfig, Model, validate
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint
from tmrl_ros.policy.context import Context
from tmrl_ros.policy.encoders import make_encoder
from tmrl_ros.policy.flow import VelocityNetwork
from tmrl_ros.policy.inputs import Shapes, gather, need
from tmrl_ros.types import Observation

FORMAT = "tmrl_base_policy/1"


class Description(Model):
    """What a checkpoint says of a base policy's sizes, in the order in which BasePolicy takes them."""

    state_dim: StrictInt = Field(ge=0, le=10_000)
    action_dim: StrictInt = Field(ge=1, le=1_000)
    horizon: StrictInt = Field(ge=1, le=1_000)
    encoded: dict[str, tuple[StrictInt, ...]] = Field(default_factory=dict)  # the first ones had neither
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    action_hz: StrictInt = Field(0, ge=0, le=10_000)


class BasePolicy(nn.Module):
    """Chunks of `horizon` rows of `action_dim` from what `shapes` names; normalisation travels with the weights.

    Features are the standardised state, its entries in their order, then the embedding of each other input by name,
    which is all that the flow is told; for actor and critics what the encoders pooled may follow (`actor_sees`).
    """

    def __init__(
        self,
        config: BaseConfig,
        state_dim: int,
        action_dim: int,
        horizon: int,
        encoded: Shapes = MappingProxyType({}),
        state_names: Sequence[str] = (),
        action_names: Sequence[str] = (),
        action_hz: int = 0,
    ):
        """`encoded` are the shapes of clouds and images; `state_names` are what `config.smooth` may refer to.

        What its data did not say stays unknown: no names, and rows at 0 Hz.
        """
        super().__init__()
        self.config, self.state_dim, self.action_dim, self.horizon = config, state_dim, action_dim, horizon
        self.encoded = {name: tuple(encoded[name]) for name in sorted(encoded)}
        self.state_names = tuple(state_names) or _numbered(state_dim)
        self.action_names, self.action_hz = tuple(action_names), action_hz
        if len(self.state_names) != state_dim:
            raise ConfigError(f"{len(self.state_names)} names for a state of {state_dim} entries; give one for each")
        if len(self.action_names) not in (0, action_dim):
            raise ConfigError(f"{len(self.action_names)} names for actions of {action_dim} columns; give one for each")
        columns = [name for name in self.encoded for _ in range(config.embedding)]
        self.told_dim = state_dim + len(columns)  # size of what the flow is told
        self.origin = _origin(config.cloud_from, self.state_names)
        self.smoothing = Context(config.smooth, self.state_names, columns, config.context_scale, config.schedule)
        self.net = VelocityNetwork(horizon * action_dim, self.told_dim, config.width, config.layers)
        for name, dim in (("state", state_dim), ("action", action_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(dim))
            self.register_buffer(f"{name}_std", torch.ones(dim))
        sizes = config.embedding, config.encoder_width, state_dim * config.encoder_sees_state
        self.encoders = nn.ModuleList(make_encoder(name, shape, *sizes) for name, shape in self.encoded.items())
        pooled = sum(encoder.pooled for encoder in self.encoders) if config.actor_sees == "pooled" else 0
        self.feature_dim = self.told_dim + pooled  # size of what actor and critics see
        if pooled:
            self.register_buffer("pooled_mean", torch.zeros(pooled))
            self.register_buffer("pooled_std", torch.ones(pooled))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every input: state [state_dim], a cloud [points, 3 or 6], an image [height, width, 3]."""
        return ({"state": (self.state_dim,)} if self.state_dim else {}) | self.encoded

    @property
    def names_its_state(self) -> bool:
        """Whether its data said what the state's entries mean."""
        return self.state_names != _numbered(self.state_dim)

    @property
    def context_dim(self) -> int:
        """Size of what smoothing corrupts."""
        return self.smoothing.dim

    def fit_normalisation(self, inputs: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take means and scales from `inputs`, each [n, ...], and `actions` [n, horizon, action_dim]."""
        for name, values in (("state", inputs.get("state")), ("action", actions.flatten(0, 1))):
            if values is not None:
                rows = values.numpy()
                getattr(self, f"{name}_mean").copy_(torch.as_tensor(rows.mean(0)))
                getattr(self, f"{name}_std").copy_(torch.as_tensor(rows.std(0).clip(1e-3)))
        for name, encoder in zip(self.encoded, self.encoders, strict=True):
            encoder.fit(self._placed(name, inputs))

    @torch.no_grad()
    def fit_pooled(self, inputs: Mapping[str, Tensor]) -> None:
        """Take means and scales of what trained encoders pool of `inputs`, each [n, ...]."""
        if self.feature_dim > self.told_dim:
            pooled = torch.cat(list(self._pooled(inputs)), -1)
            self.pooled_mean.copy_(pooled.mean(0))
            self.pooled_std.copy_(pooled.std(0).clamp(min=1e-3))

    def inputs(self, observations: Sequence[Observation]) -> dict[str, Tensor]:
        """What `features` takes, each [n, ...]; raises DataError if an observation lacks some of it."""
        return {name: torch.as_tensor(values) for name, values in gather(observations, self.shapes).items()}

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What actor and critics see [n, feature_dim]; the base is frozen, so once an observation is enough."""
        need(self.shapes, inputs)
        state = None
        if self.state_dim:
            state = _standardised(inputs["state"], self.state_mean, self.state_std)
        pooled = list(self._pooled(inputs))
        parts = [encoder.embed(x, state) for x, encoder in zip(pooled, self.encoders, strict=True)]
        parts = parts if state is None else [state, *parts]
        if self.feature_dim > self.told_dim:
            parts.append(_standardised(torch.cat(pooled, -1), self.pooled_mean, self.pooled_std))
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def _pooled(self, inputs: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """What each encoder makes its embedding of [n, pooled]."""
        for name, encoder in zip(self.encoded, self.encoders, strict=True):
            yield encoder.pool(self._placed(name, inputs))

    def _placed(self, name: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """An input as its encoder is given it: clouds [n, points, 3 or 6] as seen from `config.cloud_from`, m."""
        values = inputs[name]
        if not self.origin or len(self.encoded[name]) != 2:
            return values
        seen_from = inputs["state"][:, self.origin][:, None]
        return torch.cat([values[..., :3] - seen_from, values[..., 3:]], -1)

    def context(self, features: Tensor) -> Tensor:
        """What smoothing corrupts [n, context_dim], before it does."""
        return self.smoothing.of(self._told(features))

    def _told(self, features: Tensor) -> Tensor:
        """The part of them that the flow is told."""
        return features[:, : self.told_dim]

    def loss(self, inputs: Mapping[str, Tensor], chunk: Tensor) -> tuple[Tensor, dict]:
        """Flow-matching loss of `chunk` [n, horizon, action_dim] given `inputs`, each [n, ...]."""
        n = len(chunk)
        action = ((chunk - self.action_mean) / self.action_std).flatten(1)
        noise, tau = torch.randn_like(action), torch.rand(n)
        sigma = torch.rand(n) * (torch.rand(n) >= self.config.clean_share)
        if self.config.kind == "plain":
            sigma = torch.zeros(n)
        features = self.features(inputs)
        context = self.smoothing(self._told(features), sigma, torch.randn(n, self.context_dim))
        x = tau[:, None] * noise + (1 - tau[:, None]) * action
        error = (self.net(x, tau, context, sigma) - (noise - action)).square().mean(1)
        return error.mean(), {"pretrain/loss": error.mean().detach()}

    def sample(self, features: Tensor, z: Tensor, sigma: Tensor, context_noise: Tensor | None = None) -> Tensor:
        """Integrate the flow from `z` [n, horizon, action_dim] under the features smoothed by `sigma` [n] or [1].

        Without `context_noise` [n, context_dim] the context is attenuated only: random context noise at run time acts
        as action noise. Returns actions [n, horizon, action_dim] in action units.
        """
        context = self.smoothing(self._told(features), sigma, context_noise)
        x = self.net.integrate(z.flatten(1), context, sigma, self.config.euler_steps)
        chunk = x.view(-1, self.horizon, self.action_dim)
        return chunk * self.action_std + self.action_mean

    def save(self, folder: Path, meta: dict) -> None:
        """Write weights and description atomically; `meta` says what it was trained on."""
        shape = {
            "state_dim": self.state_dim,
            "action_dim": self.action_dim,
            "horizon": self.horizon,
            "encoded": self.encoded,
            "state_names": self.state_names,
            "action_names": self.action_names,
            "action_hz": self.action_hz,
        }
        write_checkpoint(
            folder, self.state_dict(), {"format": FORMAT, "config": self.config.model_dump(), **shape, **meta}
        )

    @classmethod
    def load(cls, folder: Path) -> "BasePolicy":
        """Read a frozen policy; raises DataError if the folder is missing, damaged or of another format."""
        tensors, meta = read_checkpoint(folder, FORMAT)
        described = validate(Description, {name: meta[name] for name in Description.model_fields if name in meta})
        config = validate(BaseConfig, meta.get("config"))
        try:
            policy = cls(config, *(getattr(described, name) for name in Description.model_fields))
            policy.load_state_dict(tensors)
        except (RuntimeError, MemoryError) as error:  # MemoryError: no weights of ours have such a size
            first = str(error).splitlines()[-1].strip()
            raise DataError(f"{folder}: weights do not fit their description ({first}); pre-train again") from None
        return policy.eval().requires_grad_(False)


def _numbered(state_dim: int) -> tuple[str, ...]:
    return tuple(f"state[{k}]" for k in range(state_dim))


def _standardised(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Clipped, so that a far outlier cannot saturate what comes after."""
    return ((values - mean) / std).clamp(-10.0, 10.0)


def _origin(position: str, state_names: Sequence[str]) -> list[int]:
    """The state's entries x, y, z of the `position` that clouds are seen from; none where they stay as they are."""
    wanted = [f"{position}_{axis}_m" for axis in "xyz"] if position else []
    missing = [name for name in wanted if name not in state_names]
    if missing:
        there = ", ".join(state_names) or "nothing"
        raise ConfigError(f"cloud_from = {position!r} needs {missing[0]} in the state, which holds {there}")
    return [state_names.index(name) for name in wanted]
