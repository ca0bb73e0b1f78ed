"""The learner: decisions in, actor versions out; all that it knows can be written to one checkpoint and resumed."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from tmrl_ros.config import LearnerConfig
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.learner.demos import demo_replay
from tmrl_ros.learner.replay import Replay
from tmrl_ros.learner.sac import Sac
from tmrl_ros.policy.actor_file import actor_tensors, write_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint
from tmrl_ros.policy.steering import Steering

LEARNER_FORMAT = "tmrl_learner/3"
FREE = {"base", "checkpoint", "demos", "offline"}  # settings that may differ where a session is resumed
Demos = tuple[np.ndarray, np.ndarray, np.ndarray]


class Learner:
    """Updates after each decision once warm; `version` is the number of the last decision learned from, plus one.

    `demos` are states, actions and episode ends, as in demo_replay.
    """

    def __init__(self, config: LearnerConfig, base: BasePolicy, demos: Demos | None = None):
        torch.manual_seed(config.seed)
        self.config, self.base = config, base
        self.steering = Steering.of(config, base)
        self.sac = Sac(*self.steering.build(config.sac.critics), config.sac, self.steering.judged)
        self.replay = Replay(config.sac.capacity, self.steering.feature_dim, self.steering.judged_dim)
        self.demos = None
        if config.sac.demo_share:
            if demos is None:
                raise ConfigError("sac.demo_share > 0 needs demonstrations; name their store with demos")
            self.demos = demo_replay(self.steering, *demos)
        self.rng = np.random.default_rng(config.seed)
        self.version, self.episodes = 0, 0

    def add(self, transition) -> None:
        """Store one policy decision (data.assembler.Transition)."""
        t = transition
        features = self.steering.features(self.base.inputs([t.observation, t.next_observation]))
        action = self.steering.judged_of(features[0], t.modulation, t.actions, t.executed)
        self.replay.add(
            t.episode,
            t.success,
            features=features[0].numpy(),
            action=action.numpy(),
            reward=np.float32(t.reward),
            next_features=features[1].numpy(),
            bootstrap=np.float32(not t.terminated),
        )
        self.version = transition.decision + 1
        self.episodes += transition.terminated or transition.truncated

    def learn(self) -> dict[str, float]:
        """The updates that one decision buys; empty while warming up."""
        if self.episodes < self.config.sac.warmup_episodes:
            return {}
        info = {}
        for _ in range(self.config.sac.updates_per_decision):
            info |= self.update()
        return {name: float(value.mean()) for name, value in info.items()} | {"learner/updates": self.sac.updates}

    def update(self) -> dict[str, torch.Tensor]:
        """One update on what is in the replay; returns raw metrics."""
        return self.sac.update(self._batch())

    def _batch(self) -> dict[str, np.ndarray]:
        """A batch of what was experienced and, for methods that keep using them, of demonstrations (RLPD)."""
        sac = self.config.sac
        shown = round(sac.batch * sac.demo_share)
        batch = self.replay.sample(self.rng, sac.batch - shown, sac.success_share)
        if not shown:
            return batch
        demos = self.demos.sample(self.rng, shown, 0.0)
        return {name: np.concatenate([batch[name], demos[name]]) for name in batch}

    @property
    def warm(self) -> bool:
        """Whether there is an actor worth publishing."""
        return self.sac.updates > 0

    def actor_bytes(self) -> bytes:
        """The averaged actor and critics as safetensors, for the policy server."""
        return safetensors.torch.save(actor_tensors(self.sac.average, self.sac.target))

    def save_actor(self, folder: Path) -> None:
        """Write what `tmrl evaluate` needs beside the base: actor, critics and their description."""
        write_actor(folder, self.sac.average, self.sac.target, self.steering, self.version)

    def save(self, folder: Path) -> None:
        """Write everything needed to continue bit for bit on the same machine."""
        modules = self._modules()
        tensors = {f"{name}.{key}": v for name, module in modules.items() for key, v in module.state_dict().items()}
        tensors |= {f"replay.{name}": torch.as_tensor(value) for name, value in self.replay.state().items()}
        tensors |= {"log_temperature": self.sac.log_temperature.detach(), "torch_rng": torch.get_rng_state()}
        meta = {
            "format": LEARNER_FORMAT,
            "version": self.version,
            "episodes": self.episodes,
            "updates": self.sac.updates,
            "numpy_rng": self.rng.bit_generator.state,
            "config": self.config.model_dump(exclude=FREE),
        }
        write_checkpoint(folder, tensors, meta)

    def restore(self, folder: Path) -> None:
        """Continue from `folder`; raises DataError if it is damaged or was written under another configuration."""
        tensors, meta = read_checkpoint(folder, LEARNER_FORMAT)
        own = self.config.model_dump(mode="json", exclude=FREE)
        changed = sorted(key for key in own if own[key] != meta["config"].get(key))
        if changed:
            raise DataError(
                f"{folder}: written with other settings ({', '.join(changed)}); use those or a new run folder"
            )
        for name, module in self._modules().items():
            prefix = f"{name}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        self.replay.restore(
            {k.removeprefix("replay."): v.numpy() for k, v in tensors.items() if k.startswith("replay.")}
        )
        self.sac.log_temperature.data.copy_(tensors["log_temperature"])
        torch.set_rng_state(tensors["torch_rng"])
        self.rng.bit_generator.state = meta["numpy_rng"]
        self.version, self.episodes, self.sac.updates = meta["version"], meta["episodes"], meta["updates"]

    def _modules(self) -> dict:
        sac = self.sac
        networks = {"actor": sac.actor, "average": sac.average, "critic": sac.critic, "target": sac.target}
        return {**networks, **{f"adam_{k}": v for k, v in sac.optimisers.items()}}
