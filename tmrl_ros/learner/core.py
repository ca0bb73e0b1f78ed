"""The learner: decisions in, actor versions out; all that it knows can be written to one checkpoint and resumed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from tmrl_ros.config import LearnerConfig
from tmrl_ros.documents import shown
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.learner.corrections import teach
from tmrl_ros.learner.demos import Demonstrations, demo_replay, features_of
from tmrl_ros.learner.replay import Replay
from tmrl_ros.learner.sac import Sac
from tmrl_ros.policy import relabel
from tmrl_ros.policy.actor_file import actor_tensors, write_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import META, read_checkpoint, remedy, write_checkpoint
from tmrl_ros.policy.heads import Heads
from tmrl_ros.policy.steering import Steering
from tmrl_ros.types import Modulation

LEARNER_FORMAT = "tmrl_learner/4"
# settings that may differ where a session is resumed
FREE = {"base", "checkpoint", "checkpoint_episodes", "demos", "corrections", "offline", "log_sync_s", "catch_up"}
NEXT, PREVIOUS = ".next", ".previous"  # of a folder's name: written whole, and the one before it
COUNTERS = ("version", "episodes", "updates")
OVER, LABELS = "over", "labels"  # absent from checkpoints of older code


class Learner:
    """Updates after each decision once warm; `version` is the number of the last decision learned from, plus one.

    `demos` are for methods that keep learning from them, `corrections` are a person's episodes at deployment.
    """

    def __init__(
        self,
        config: LearnerConfig,
        base: BasePolicy,
        demos: Demonstrations | None = None,
        corrections: Demonstrations | None = None,
    ):
        torch.manual_seed(config.seed)
        self.config, self.base = config, base
        self.steering = Steering.of(config, base)
        self.sac = Sac(*self.steering.build(config.sac.critics), config.sac, self.steering.judged)
        self.replay = Replay(config.sac.capacity, self.steering.feature_dim, self.steering.judged_dim)
        self.demos = None
        if config.sac.demo_share:
            if demos is None:
                raise ConfigError("sac.demo_share > 0 needs demonstrations; name their store with demos")
            self.demos = demo_replay(self.steering, features_of(self.steering, demos), demos.actions, demos.ends)
        self.rng = np.random.default_rng(config.seed)
        self.version, self.episodes = 0, 0
        self.over, self.labels = 0, {}  # episodes below are over; verdicts (episode -> success) that wait for that
        self.unfound: list[int] = []  # labelled episodes of which the replay had nothing; whoever says so empties it
        if corrections is not None:
            features = features_of(self.steering, corrections)
            teach(self.replay, self.steering, features, corrections.actions, corrections.ends, config.relabel_error)
            self.episodes = len(corrections.ends)
            for _ in range(config.corrections_updates if len(self.replay) else 0):
                self.update()

    def add(self, transition) -> bool:
        """Take in one decision (data.assembler.Transition); returns whether it is one that can be learned from."""
        t = transition
        features = self.steering.features(self.base.inputs([t.observation, t.next_observation]))
        action = self._judged(features[0], t)
        if action is not None:
            self.replay.add(
                t.episode,
                t.success,
                t.demo,
                features=features[0].numpy(),
                action=action.numpy(),
                reward=np.float32(t.reward),
                next_features=features[1].numpy(),
                bootstrap=np.float32(not t.terminated),
            )
        self.version = t.decision + 1
        ended = t.terminated or t.truncated
        self.episodes += ended
        self.settle(t.episode + ended)
        return action is not None

    def label(self, episode: int, success: bool) -> None:
        """A person's verdict on an ended episode, on its last decision as soon as that is here: any may come first."""
        self.labels[episode] = success
        self.settle(self.over)

    def settle(self, over: int) -> None:
        """No more comes of the episodes below `over`: the labels that waited for this are applied."""
        self.over = over
        for episode in sorted(episode for episode in self.labels if episode < over):
            if not self.replay.label(episode, self.labels.pop(episode)):
                self.unfound.append(episode)

    def _judged(self, features: torch.Tensor, t) -> torch.Tensor | None:
        """What critics see of a decision; None of one that was cut by a change of hands, or is beyond the base.

        One of another method, such as a base's evaluation, tells critics that judge rows what ran, if nothing cut it.
        """
        whole = t.executed == self.steering.rows
        if not whole and not (t.terminated or t.truncated):
            return None
        if not t.demo and _fits(self.steering.heads, t.modulation):
            return self.steering.judged_of(features, t.modulation, t.actions, t.executed)
        if not t.demo:
            return torch.as_tensor(t.actions).flatten() if whole and self.steering.judges_action else None
        return relabel.judged(self.steering, features, t.actions[: t.executed], t.decision, self.config.relabel_error)

    def learn(self) -> dict[str, float]:
        """The updates that one decision buys; empty while warming up."""
        if self.episodes < self.config.sac.warmup_episodes or not len(self.replay):
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
        demos = self._shown(shown)
        return {name: np.concatenate([batch[name], demos[name]]) for name in batch}

    def _shown(self, count: int) -> dict[str, np.ndarray]:
        """Rows of the demonstrations and of what a person has done since."""
        since = np.flatnonzero(self.replay.shown[: len(self.replay)])
        drawn = self.rng.integers(len(self.demos) + len(since), size=count)
        old, new = drawn[drawn < len(self.demos)], drawn[drawn >= len(self.demos)] - len(self.demos)
        parts = self.demos.at(old), self.replay.at(since[new])
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @property
    def warm(self) -> bool:
        """Whether there is an actor worth publishing."""
        return self.sac.updates > 0

    def actor_bytes(self) -> bytes:
        """The averaged actor and critics as safetensors, for the policy server."""
        return safetensors.torch.save(actor_tensors(self.sac.average, self.sac.target))

    def save_actor(self, folder: Path) -> None:
        """Write what `tmrl evaluate` needs beside the base: actor, critics and their description."""
        _replace(folder, lambda at: write_actor(at, self.sac.average, self.sac.target, self.steering, self.version))

    def save(self, folder: Path, notes: Mapping[str, Any] | None = None) -> None:
        """Write everything needed to continue bit for bit on the same machine; `notes` (JSON) come back at restore.

        Whatever moment a kill meets, a whole checkpoint is there for restore_newest.
        """
        meta = {
            "format": LEARNER_FORMAT,
            **self._counters(),
            "config": self.config.model_dump(exclude=FREE),
            "notes": dict(notes or {}),
        }
        _replace(folder, lambda at: write_checkpoint(at, self._tensors(), meta))

    def restore(self, folder: Path) -> dict[str, Any]:
        """Continue from `folder`, and return its notes.

        Raises DataError if it is damaged or was written under another configuration.
        """
        tensors, meta = read_checkpoint(folder, LEARNER_FORMAT)
        try:
            return self._take(folder, tensors, meta)
        except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise DataError(f"{folder}: is no learner's ({why}); {remedy(LEARNER_FORMAT)}") from None

    def _take(self, folder: Path, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> dict[str, Any]:
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
        self.version, self.episodes, self.sac.updates = (_count(meta, name) for name in COUNTERS)
        self.over = _count(meta, OVER) if OVER in meta else 0
        self.labels = _labels(meta.get(LABELS, []))
        return dict(meta.get("notes", {}))

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what comes next: two learners with the same one go on alike."""
        sha = hashlib.sha256(json.dumps(self._counters(), sort_keys=True).encode())
        for name, value in sorted(self._tensors().items()):
            sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            sha.update(value.detach().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def _counters(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "episodes": self.episodes,
            "updates": self.sac.updates,
            OVER: self.over,
            LABELS: sorted(self.labels.items()),
            "numpy_rng": self.rng.bit_generator.state,
        }

    def _tensors(self) -> dict[str, torch.Tensor]:
        modules = self._modules()
        tensors = {f"{name}.{key}": v for name, module in modules.items() for key, v in module.state_dict().items()}
        tensors |= {f"replay.{name}": torch.as_tensor(value) for name, value in self.replay.state().items()}
        return tensors | {"log_temperature": self.sac.log_temperature.detach(), "torch_rng": torch.get_rng_state()}

    def _modules(self) -> dict:
        sac = self.sac
        networks = {"actor": sac.actor, "average": sac.average, "critic": sac.critic, "target": sac.target}
        return {**networks, **{f"adam_{k}": v for k, v in sac.optimisers.items()}}


def _fits(heads: Heads, modulation: Modulation) -> bool:
    """Whether a modulation may come from an actor of these heads; `residual` also carries whole actions."""
    sizes = {name: getattr(modulation, name).size for name in ("z", "context_noise", "residual")}
    sizes |= {"sigma": 1, "action": sizes["residual"]}
    return all(sizes[head.name] == head.dim for head in heads)


def _count(meta: dict[str, Any], name: str) -> int:
    count = meta.get(name)
    if type(count) is not int or count < 0:
        raise DataError(f"{META}: {name} = {shown(count)} is no count; {remedy(LEARNER_FORMAT)}")
    return count


def _labels(listed: Any) -> dict[int, bool]:
    labels = dict(listed)
    if not all(type(episode) is int and type(success) is bool for episode, success in labels.items()):
        raise DataError(f"{META}: {LABELS} = {shown(listed)} are no verdicts by episode; {remedy(LEARNER_FORMAT)}")
    return labels


def recover(folder: Path, kind: str = LEARNER_FORMAT) -> bool:
    """Put the newest whole checkpoint of format `kind` that a kill may have left beside `folder` in its place.

    Returns whether there is one. Raises DataError if all that are there are damaged.
    """
    folder, found, damage = Path(folder), [], []
    for half_written in folder.parent.glob(f".{_beside(folder, NEXT).name}.*"):
        shutil.rmtree(half_written)
    for at in (_beside(folder, NEXT), folder, _beside(folder, PREVIOUS)):
        try:
            if at.exists():
                found.append((_count(read_checkpoint(at, kind)[1], "version"), at))
        except DataError as error:
            if at != _beside(folder, NEXT):  # cut by a kill: it never was the checkpoint
                damage.append(error)
    if damage and not found:
        raise damage[0]
    newest = max(found, key=lambda entry: entry[0], default=(0, None))[1]
    if newest and newest != folder:
        shutil.rmtree(folder, ignore_errors=True)
        newest.rename(folder)
    return bool(newest)


def _replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a folder beside `folder`, then exchange them, the old one kept until the new one is in place."""
    folder, fresh, old = Path(folder), _beside(folder, NEXT), _beside(folder, PREVIOUS)
    shutil.rmtree(fresh, ignore_errors=True)
    write(fresh)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(folder: Path, ending: str) -> Path:
    folder = Path(folder)
    return folder.with_name(f".{folder.name}{ending}")
