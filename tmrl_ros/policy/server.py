"""The policy server's core: observations and requests in, chunks out. Every draw depends on (seed, decision) alone."""

from pathlib import Path

import numpy as np
import torch

from tmrl_ros.config import PolicyConfig
from tmrl_ros.errors import ActionError, ConfigError
from tmrl_ros.policy.actor import choose
from tmrl_ros.policy.actor_file import build_actor, load_actor, parse_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.types import ActionChunk, DecisionRequest, Modulation, Observation


def _seed(*parts: int) -> int:
    """32 well-mixed bits: torch's CPU generator looks at no more than the lowest 32 of a seed."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class PolicyServer:
    """Holds the frozen base and the newest actor; version 0 is the prior, before any learning."""

    def __init__(self, config: PolicyConfig, base: BasePolicy):
        if base.horizon != config.timing.action_horizon:
            raise ConfigError(
                f"timing.action_horizon = {config.timing.action_horizon}, but the base was trained with "
                f"{base.horizon}; set it to that or pre-train again"
            )
        self.config, self.base = config, base
        self.z_dim = base.action_dim * (base.horizon if config.steering.z_chunk else 1)
        self.version, self.actor, self.critic = 0, None, None
        if config.actor:
            self.actor, self.critic, self.version = load_actor(Path(config.actor), base.state_dim, self.z_dim)

    def update_actor(self, version: int, parameters: bytes) -> None:
        """Replace the actor; raises DataError (and keeps the old one) if the bytes do not fit."""
        tensors = parse_actor(parameters)
        self.actor, self.critic = build_actor(tensors, self.base.state_dim, self.z_dim, self.config.steering)
        self.version = version

    @torch.no_grad()
    def decide(self, request: DecisionRequest, observation: Observation) -> ActionChunk:
        """The chunk for `request`; raises ActionError if the base or the actor produced something not finite."""
        generator = torch.Generator().manual_seed(_seed(self.config.seed, request.decision))
        state = torch.as_tensor(observation.state)[None]
        z, sigma = self._modulate(state, request.greedy, generator)
        horizon, dim = self.base.horizon, self.base.action_dim
        noise = z.view(1, -1, dim).expand(1, horizon, dim)
        actions = self.base.sample(state, noise, sigma)[0].clamp(-1.0, 1.0)
        if not (torch.isfinite(actions).all() and torch.isfinite(z).all()):
            raise ActionError(
                f"policy produced an action that is not finite for decision {request.decision}; nothing is sent"
            )
        return ActionChunk(
            request.stamp_ns,
            request.episode,
            request.decision,
            1.0 / self.config.timing.action_hz,
            actions.numpy(),
            Modulation(z[0].numpy(), float(sigma[0])),
            self.version,
        )

    def _modulate(self, state, greedy: bool, generator) -> tuple[torch.Tensor, torch.Tensor]:
        """z [1, z_dim] or [1, horizon * action_dim], and sigma [1]."""
        settings = self.config.steering
        if self.config.method == "base":
            return torch.randn(1, self.base.horizon * self.base.action_dim, generator=generator), torch.zeros(1)
        if self.actor is None:
            z = torch.randn(1, self.z_dim, generator=generator).clamp(-settings.z_max, settings.z_max)
            top = settings.sigma_max if settings.learn_sigma else 0.0
            return z, settings.sigma_start * (not settings.learn_sigma) + top * torch.rand(1, generator=generator)
        noise = torch.randn(settings.candidates, self.actor.dim, generator=generator)
        return self.actor.split(choose(self.actor, self.critic, self.base.features(state), greedy, noise))
