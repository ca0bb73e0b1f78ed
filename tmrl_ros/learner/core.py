"""The learner: decisions in, actor versions out; all that it knows can be written to one checkpoint and resumed."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from tmrl_ros.config import LearnerConfig
from tmrl_ros.errors import DataError
from tmrl_ros.learner.replay import Replay
from tmrl_ros.learner.sac import Sac
from tmrl_ros.policy.actor_file import FORMAT, actor_tensors
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint


class Learner:
    """Updates after each decision once warm; `version` is the number of the last decision learned from, plus one."""

    def __init__(self, config: LearnerConfig, base: BasePolicy):
        torch.manual_seed(config.seed)
        self.config, self.base = config, base
        z_dim = base.action_dim * (base.horizon if config.steering.z_chunk else 1)
        self.sac = Sac(base.state_dim, z_dim, config.steering, config.sac)
        self.replay = Replay(config.sac.capacity, base.state_dim, self.sac.actor.dim)
        self.rng = np.random.default_rng(config.seed)
        self.version, self.episodes = 0, 0

    def add(self, transition) -> None:
        """Store one policy decision (data.assembler.Transition)."""
        features = self._features(transition.observation, transition.next_observation)
        z = torch.as_tensor(transition.modulation.z)[None]
        u = self.sac.actor.join(z, torch.tensor([transition.modulation.sigma]))[0]
        self.replay.add(
            transition.episode,
            transition.success,
            features=features[0],
            u=u.numpy(),
            reward=np.float32(transition.reward),
            next_features=features[1],
            bootstrap=np.float32(not transition.terminated),
        )
        self.version = transition.decision + 1
        self.episodes += transition.terminated or transition.truncated

    def learn(self) -> dict[str, float]:
        """The updates that one decision buys; empty while warming up."""
        if self.episodes < self.config.sac.warmup_episodes:
            return {}
        info = {}
        for _ in range(self.config.sac.updates_per_decision):
            batch = self.replay.sample(self.rng, self.config.sac.batch, self.config.sac.success_share)
            info |= self.sac.update(batch)
        return {name: float(value.mean()) for name, value in info.items()} | {"learner/updates": self.sac.updates}

    @property
    def warm(self) -> bool:
        """Whether there is an actor worth publishing."""
        return self.sac.updates > 0

    def actor_bytes(self) -> bytes:
        """The averaged actor and critics as safetensors, for the policy server."""
        return safetensors.torch.save(actor_tensors(self.sac.average, self.sac.target))

    def save_actor(self, folder: Path) -> None:
        """Write what `tmrl evaluate` needs beside the base: actor, critics and their description."""
        meta = {
            "format": FORMAT,
            "version": self.version,
            "modulation": self.config.steering.model_dump(),
            "critics": self.config.sac.critics,
        }
        write_checkpoint(folder, actor_tensors(self.sac.average, self.sac.target), meta)

    def save(self, folder: Path) -> None:
        """Write everything needed to continue bit for bit on the same machine."""
        tensors = _flatten(self._modules())
        tensors |= {f"replay.{name}": torch.as_tensor(value) for name, value in self.replay.state().items()}
        tensors |= {"log_temperature": self.sac.log_temperature.detach(), "torch_rng": torch.get_rng_state()}
        meta = {
            "format": "tmrl_learner/1",
            "version": self.version,
            "episodes": self.episodes,
            "updates": self.sac.updates,
            "numpy_rng": self.rng.bit_generator.state,
            "config": self.config.model_dump(exclude={"base", "checkpoint"}),
        }
        write_checkpoint(folder, tensors, meta)

    def restore(self, folder: Path) -> None:
        """Continue from `folder`; raises DataError if it is damaged or was written under another configuration."""
        tensors, meta = read_checkpoint(folder, "tmrl_learner/1")
        own = self.config.model_dump(mode="json", exclude={"base", "checkpoint"})
        changed = sorted(key for key in own if own[key] != meta["config"].get(key))
        if changed:
            raise DataError(
                f"{folder}: written with other settings ({', '.join(changed)}); use those or a new run folder"
            )
        for name, module in self._modules().items():
            prefix = f"{name}."
            module.load_state_dict(
                _unflatten(module, {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
            )
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

    def _features(self, *observations) -> np.ndarray:
        states = torch.as_tensor(np.stack([observation.state for observation in observations]))
        return self.base.features(states).numpy()


def _flatten(modules: dict) -> dict[str, torch.Tensor]:
    """Tensors of modules and optimisers under dotted names; an optimiser's state becomes <parameter index>.<entry>."""
    flat = {}
    for name, module in modules.items():
        state = module.state_dict()
        if isinstance(module, torch.optim.Optimizer):
            state = {f"{i}.{key}": value for i, entry in state["state"].items() for key, value in entry.items()}
        flat |= {f"{name}.{key}": value for key, value in state.items()}
    return flat


def _unflatten(module, tensors: dict[str, torch.Tensor]) -> dict:
    if not isinstance(module, torch.optim.Optimizer):
        return tensors
    state = {}
    for key, value in tensors.items():
        index, entry = key.split(".", 1)
        state.setdefault(int(index), {})[entry] = value
    return {"state": state, "param_groups": module.state_dict()["param_groups"]}
