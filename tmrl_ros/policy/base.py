"""The base policy: a flow-matching chunk policy, pre-trained with or without context smoothing, frozen afterwards.

Flow time: tau = 1 is noise, tau = 0 the action; x_tau = tau n + (1 - tau) a; the network learns v = n - a
(arXiv 2605.12236).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.config import BaseConfig, validate
from tmrl_ros.errors import DataError
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint
from tmrl_ros.policy.flow import VelocityNetwork
from tmrl_ros.policy.schedule import smooth
from tmrl_ros.types import Observation

FORMAT = "tmrl_base_policy/1"


class BasePolicy(nn.Module):
    """Chunks of `horizon` rows of `action_dim` from states of `state_dim`; normalisation travels with the weights."""

    def __init__(self, config: BaseConfig, state_dim: int, action_dim: int, horizon: int):
        super().__init__()
        self.config, self.state_dim, self.action_dim, self.horizon = config, state_dim, action_dim, horizon
        self.net = VelocityNetwork(horizon * action_dim, state_dim, config.width, config.layers)
        for name, dim in (("state", state_dim), ("action", action_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(dim))
            self.register_buffer(f"{name}_std", torch.ones(dim))

    def fit_normalisation(self, states: np.ndarray, actions: np.ndarray) -> None:
        """Take means and standard deviations from `states` [n, state_dim] and `actions` [n, horizon, action_dim]."""
        rows = actions.reshape(-1, self.action_dim)
        for name, values in (("state", states), ("action", rows)):
            getattr(self, f"{name}_mean").copy_(torch.as_tensor(values.mean(0)))
            getattr(self, f"{name}_std").copy_(torch.as_tensor(values.std(0).clip(1e-3)))

    def inputs(self, observations: Sequence[Observation]) -> dict[str, Tensor]:
        """What `features` takes, each [n, ...], from observations."""
        return {"state": torch.as_tensor(np.stack([observation.state for observation in observations]))}

    @property
    def feature_dim(self) -> int:
        """Size of what actor and critics see."""
        return self.state_dim

    @property
    def context_dim(self) -> int:
        """Size of what smoothing corrupts."""
        return self.state_dim

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Standardised state [n, feature_dim]; clipped, so that a far outlier cannot saturate what comes after."""
        return ((inputs["state"] - self.state_mean) / self.state_std).clamp(-10.0, 10.0)

    def context(self, features: Tensor) -> Tensor:
        """What smoothing corrupts: the standardised state, scaled up so that unit noise does not drown it at once."""
        return self.config.context_scale * features

    def loss(self, inputs: Mapping[str, Tensor], chunk: Tensor) -> tuple[Tensor, dict]:
        """Flow-matching loss of `chunk` [n, horizon, action_dim] given `inputs`, each [n, ...]."""
        n = len(chunk)
        action = ((chunk - self.action_mean) / self.action_std).flatten(1)
        noise, tau = torch.randn_like(action), torch.rand(n)
        sigma = torch.rand(n) * (torch.rand(n) >= self.config.clean_share)
        if self.config.kind == "plain":
            sigma = torch.zeros(n)
        context = self.context(self.features(inputs))
        context = smooth(context, sigma, torch.randn_like(context), self.config.schedule)
        x = tau[:, None] * noise + (1 - tau[:, None]) * action
        error = (self.net(x, tau, context, sigma) - (noise - action)).square().mean(1)
        return error.mean(), {"pretrain/loss": error.mean().detach()}

    def sample(self, features: Tensor, z: Tensor, sigma: Tensor, context_noise: Tensor | None = None) -> Tensor:
        """Integrate the flow from `z` [n, horizon, action_dim] under the context smoothed by `sigma` [n].

        Without `context_noise` [n, context_dim] the context is attenuated only: random context noise at run time acts
        as action noise. Returns actions [n, horizon, action_dim] in action units.
        """
        context = smooth(self.context(features), sigma, context_noise, self.config.schedule)
        x, steps = z.flatten(1), self.config.euler_steps
        for k in range(steps):
            tau = torch.full((len(x),), 1.0 - k / steps)
            x = x - self.net(x, tau, context, sigma) / steps
        chunk = x.view(-1, self.horizon, self.action_dim)
        return chunk * self.action_std + self.action_mean

    def save(self, folder: Path, meta: dict) -> None:
        """Write weights and description atomically; `meta` says what it was trained on."""
        shape = {"state_dim": self.state_dim, "action_dim": self.action_dim, "horizon": self.horizon}
        write_checkpoint(
            folder, self.state_dict(), {"format": FORMAT, "config": self.config.model_dump(), **shape, **meta}
        )

    @classmethod
    def load(cls, folder: Path) -> "BasePolicy":
        """Read a frozen policy; raises DataError if the folder is missing, damaged or of another format."""
        tensors, meta = read_checkpoint(folder, FORMAT)
        policy = cls(validate(BaseConfig, meta["config"]), meta["state_dim"], meta["action_dim"], meta["horizon"])
        try:
            policy.load_state_dict(tensors)
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise DataError(f"{folder}: weights do not fit their description ({first}); pre-train again") from None
        return policy.eval().requires_grad_(False)
