"""The policy server's core: observations and requests in, chunks out. Every draw depends on (seed, decision) alone."""

from pathlib import Path

import numpy as np
import torch

from tmrl_ros.config import PolicyConfig
from tmrl_ros.errors import ActionError, ConfigError
from tmrl_ros.policy.actor_file import build_actor, load_actor, parse_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering
from tmrl_ros.types import ACTION_NAMES, ActionChunk, DecisionRequest, Modulation, Observation

EPISODE = 1  # apart from a decision's draws, an episode's


def _seed(*parts: int) -> int:
    """32 well-mixed bits: torch's CPU generator looks at no more than the lowest 32 of a seed."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class PolicyServer:
    """Holds the frozen base and the newest actor; version 0 is the prior, before any learning."""

    def __init__(self, config: PolicyConfig, base: BasePolicy):
        _check(config, base)
        self.config, self.base = config, base
        self.steering = Steering.of(config, base)
        self.version, self.actor, self.critic = 0, None, None
        if config.actor:
            rows = config.timing.execution_horizon
            self.steering, self.actor, self.critic, self.version = load_actor(Path(config.actor), base, rows)

    def update_actor(self, version: int, parameters: bytes) -> None:
        """Replace the actor; raises DataError (and keeps the old one) if the bytes do not fit."""
        tensors = parse_actor(parameters)
        self.actor, self.critic = build_actor(tensors, self.steering)
        self.version = version

    @torch.no_grad()
    def decide(self, request: DecisionRequest, observation: Observation) -> ActionChunk:
        """The chunk for `request`, stamped as the observation.

        Raises ActionError if the base or the actor produced something not finite.
        """
        features = self.steering.features(self.base.inputs([observation]))
        actions, modulation = self._act(features, request)
        if not torch.isfinite(actions).all():
            raise ActionError(
                f"policy produced an action that is not finite for decision {request.decision}; nothing is sent"
            )
        return ActionChunk(
            observation.stamp_ns,
            request.episode,
            request.decision,
            1.0 / self.config.timing.action_hz,
            actions[0].numpy(),
            modulation,
            self.version,
        )

    def _act(self, features: torch.Tensor, request: DecisionRequest) -> tuple[torch.Tensor, Modulation]:
        """Actions [1, horizon, action_dim], and what they came from."""
        generator = torch.Generator().manual_seed(_seed(self.config.seed, request.decision))
        if self.config.method == "base":
            z = torch.randn(1, self.base.horizon, self.base.action_dim, generator=generator)
            actions = self.base.sample(features, z, torch.zeros(1)).clamp(-1.0, 1.0)
            return actions, Modulation(z.flatten().numpy())
        u = self._explore(features, request, generator)
        return self.steering.chunk(features, u[None]), self.steering.modulation(u)

    def _explore(self, features: torch.Tensor, request: DecisionRequest, generator) -> torch.Tensor:
        """u [m] within the bounds that are open at this decision.

        The noise of exploring keeps a share of its variance over the episode: what is wrong at deployment (a camera, a
        load) is wrong all along, and an episode has to try one answer to it throughout.
        """
        steering, settings = self.steering, self.steering.config
        candidates = settings.candidates if request.greedy else settings.explored
        noise = torch.randn(candidates, steering.heads.dim, generator=generator)
        if settings.coherence and not request.greedy:
            episode = torch.Generator().manual_seed(_seed(self.config.seed, request.episode, EPISODE))
            kept = torch.randn(steering.heads.dim, generator=episode)
            noise = settings.coherence**0.5 * kept + (1 - settings.coherence) ** 0.5 * noise
        if self.actor is None:
            u = steering.prior(noise[0])
        else:
            u = steering.choose(self.actor, self.critic, features, request.greedy, noise)
        # an actor that has learned from so many decisions acts within their bounds, in a session that counts anew too
        return steering.bounded(u, max(request.decision, self.version))


def _check(config: PolicyConfig, base: BasePolicy) -> None:
    """Raise ConfigError where the base's numbers mean something else than the session's; what it does not say passes.

    Joint positions at 30 Hz would be finite and in bounds: nothing later could tell.
    """
    timing, again = config.timing, "set it to that or pre-train again"
    if base.horizon != timing.action_horizon:
        raise ConfigError(
            f"timing.action_horizon = {timing.action_horizon}, but the base was trained with {base.horizon}; {again}"
        )
    if base.action_hz not in (0, timing.action_hz):
        raise ConfigError(
            f"timing.action_hz = {timing.action_hz}, but the base was trained on rows at {base.action_hz} Hz; {again}"
        )
    if base.action_dim != len(ACTION_NAMES) or base.action_names not in ((), ACTION_NAMES):
        its = ", ".join(base.action_names) or f"{base.action_dim} columns"
        raise ConfigError(f"the base acts by {its}, the robot by {', '.join(ACTION_NAMES)}; pre-train on rows of those")
    published = tuple(config.state_names.split())
    if published and base.names_its_state and base.state_names != published:
        raise ConfigError(
            f"perception publishes the state {', '.join(published)}, but the base was trained with "
            f"{', '.join(base.state_names)}; set perception.state to that or pre-train again"
        )
