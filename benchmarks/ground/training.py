"""One run: one method on one world from one seed, evaluated greedily as it learns.

All methods share budget, start states, networks and settings, but for what METHODS of tmrl_ros.config says of each.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.ground.worlds import Arena, Demos, World
from tmrl_ros.config import METHODS, ActorConfig, SacConfig
from tmrl_ros.learner.demos import demo_replay
from tmrl_ros.learner.replay import Replay
from tmrl_ros.learner.sac import Sac
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering

EVALUATION_SEEDS = 1_000_000_000  # start states that training never draws


@dataclass(frozen=True)
class Budget:
    """What one run may spend, the same for every method."""

    decisions: int
    evaluations: int = 5  # evenly spaced, the last one at the end
    episodes: int = 50  # an evaluation
    final_episodes: int = 100
    arenas: int = 10  # copies of the environment, so that the networks see batches
    warmup: int = 500  # decisions before the first update


class Run:
    """Collects with `arenas` copies side by side, half of them greedy; learns after every round."""

    def __init__(self, world: World, method: str, base: BasePolicy, demos: Demos, seed: int, budget: Budget):
        torch.manual_seed(seed)
        facts = METHODS[method]
        fixed = {"heads": facts.heads} | ({} if facts.base_kind == "csp" else {"sigma_start": 0.0})
        self.actor_config = ActorConfig(**world.actor | fixed)
        self.sac_config = SacConfig(**facts.learner.get("sac", {}) | world.sac)
        self.world, self.base, self.budget, self.seed = world, base, budget, seed
        self.steering = Steering(self.actor_config, base, world.execution)
        self.sac = Sac(*self.steering.build(self.sac_config.critics), self.sac_config, self.steering.judged)
        self.replay = Replay(budget.decisions + budget.arenas, self.steering.feature_dim, self.steering.judged_dim)
        share = self.sac_config.demo_share
        seen = self.steering.features({"state": torch.as_tensor(demos.states[demos.reached])})
        self.demos = demo_replay(self.steering, seen, demos.actions[demos.reached], demos.ends) if share else None
        self.rng, self.noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        self.arenas = [Arena(world) for _ in range(budget.arenas)]
        self.judges = [Arena(world) for _ in range(budget.arenas)]
        self.episodes, self.decisions = 0, 0

    def finetune(self) -> dict:
        """Learn within the budget: what a report needs, as JSON takes it."""
        budget, began, training, sigmas = self.budget, time.monotonic(), [], []
        curve = [{"decisions": 0, **self.evaluate(budget.final_episodes, untrained=True)}]
        ids, states = list(range(budget.arenas)), [a.reset(self._start()) for a in self.arenas]
        for part in range(1, budget.evaluations + 1):
            while self.decisions < budget.decisions * part / budget.evaluations:
                outcomes, sigma = self._round(ids, states)
                training += outcomes
                sigmas.append(sigma)
                self._learn()
            last = part == budget.evaluations
            entry = self.evaluate(budget.final_episodes if last else budget.episodes)
            entry |= {"sigma": float(np.mean(sigmas)), "wall_s": round(time.monotonic() - began, 1)}
            curve.append({"decisions": self.decisions, **entry})
            sigmas = []
        return {"curve": curve, "training": training, "wall_s": round(time.monotonic() - began, 1)}

    def evaluate(self, episodes: int, untrained: bool = False) -> dict:
        """Greedy success on the first of the start states kept for it; `untrained` acts as before any learning."""
        successes = []
        for first in range(0, episodes, len(self.judges)):
            arenas = dict(enumerate(self.judges[: episodes - first]))
            states = {k: arena.reset(EVALUATION_SEEDS + first + k) for k, arena in arenas.items()}
            while states:
                features = self._features(list(states.values()))
                u = self._prior(len(features)) if untrained else self._choose(features, greedy=True)
                for k, rows in zip(list(states), self._rows(features, u), strict=True):
                    states[k], success, timeout = arenas[k].play(rows)
                    if success or timeout:
                        successes.append(success)
                        del states[k]
        return {"successes": sum(successes), "episodes": episodes}

    def _round(self, ids: list[int], states: list[np.ndarray]) -> tuple[list[bool], float]:
        """One decision of every copy, into the replay: outcomes of episodes that ended, mean sigma."""
        features, n, outcomes = self._features(states), len(states), []
        if self.decisions < self.budget.warmup:
            u = self._prior(n)
        else:
            u = torch.cat(
                [self._choose(features[: n // 2], greedy=True), self._choose(features[n // 2 :], greedy=False)]
            )
        rows = self._rows(features, u)
        judged = rows.reshape(n, -1) if self.steering.judges_action else u.numpy()
        played = [arena.play(chunk) for arena, chunk in zip(self.arenas, rows, strict=True)]
        following = self._features([state for state, _, _ in played]).numpy()
        for k, (state, success, timeout) in enumerate(played):
            self.replay.add(
                ids[k],
                success,
                features=features[k].numpy(),
                action=judged[k],
                reward=np.float32(success - 1),
                next_features=following[k],
                bootstrap=np.float32(not success),
            )
            states[k] = state
            if success or timeout:
                outcomes.append(success)
                ids[k], states[k] = len(ids) + self.episodes, self.arenas[k].reset(self._start())
        self.decisions += n
        sigma = self.steering.heads.values(u).get("sigma", torch.zeros(1))
        return outcomes, float(sigma.mean())

    def _learn(self) -> None:
        """The updates that one round of decisions buys."""
        config = self.sac_config
        if self.decisions < self.budget.warmup:
            return
        demos = round(config.batch * config.demo_share)
        for _ in range(round(config.updates_per_decision * len(self.arenas))):
            batch = self.replay.sample(self.rng, config.batch - demos, config.success_share)
            if demos:
                more = self.demos.sample(self.rng, demos, 0.0)
                batch = {name: np.concatenate([values, more[name]]) for name, values in batch.items()}
            self.sac.update(batch)

    def _start(self) -> int:
        """The next training start state; the five tasks take turns."""
        self.episodes += 1
        return self.seed * 1_000_000 + self.episodes

    def _features(self, states: list[np.ndarray]) -> Tensor:
        return self.steering.features({"state": torch.as_tensor(np.stack(states))})

    @torch.no_grad()
    def _choose(self, features: Tensor, greedy: bool) -> Tensor:
        """u [n, m] of the averaged actor and critics."""
        shape = (len(features), self.actor_config.candidates, self.sac.actor.dim)
        noise = torch.randn(shape, generator=self.noise)
        pairs = zip(features.split(1), noise, strict=True)
        return torch.stack([self.steering.choose(self.sac.average, self.sac.target, f, greedy, x) for f, x in pairs])

    def _prior(self, n: int) -> Tensor:
        noise = torch.randn(n, self.sac.actor.dim, generator=self.noise)
        return torch.stack([self.steering.prior(x) for x in noise])

    @torch.no_grad()
    def _rows(self, features: Tensor, u: Tensor) -> np.ndarray:
        """Actions that run, [n, execution, action_dim]."""
        return self.steering.chunk(features, u)[:, : self.world.execution].numpy()
