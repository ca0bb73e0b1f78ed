"""The online learner: decisions and observations in, actor versions out; may die and come back at any time.

Every `versions.period` decisions it publishes an ActorUpdate (empty while warming up), every `checkpoint_episodes`
episodes it writes a checkpoint. After a restart it loads the newest one, is told of the decisions it missed by the
latched topic, learns from those whose observations still reach it, and counts the others as lost.
"""

import os
import time
from pathlib import Path

from rclpy.node import Node

from tmrl_ros.config import LearnerConfig
from tmrl_ros.data import store
from tmrl_ros.data.assembler import Assembler
from tmrl_ros.errors import TmrlError
from tmrl_ros.learner.core import Learner as Core
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.types import Mode

NICE = 10  # control before learning, where they share a machine
STATE, ACTOR = "learner", "actor"  # folders below the checkpoint folder


class Learner(Node):
    def __init__(self):
        super().__init__("learner", **runtime.NODE_OPTIONS)
        os.nice(NICE)
        self.config = runtime.config_of(self, LearnerConfig)
        self.core = Core(self.config, BasePolicy.load(Path(self.config.base)), store.read_arrays(self.config.demos))
        self.folder = Path(self.config.checkpoint) if self.config.checkpoint else None
        self.saved_episodes = 0
        if self.folder and (self.folder / STATE).exists():
            self._resume()
        self.assembler = Assembler(self.config.timing.execution_horizon)
        self.updates = topics.ACTOR_UPDATE.publisher(self)
        topics.OBSERVATION.lossless(self.config.timing.waits).subscribe(self, self._on_observation)
        topics.DECISION.subscribe(self, self._on_decision)
        self._publish({})

    def _resume(self) -> None:
        try:
            self.core.restore(self.folder / STATE)
        except TmrlError as error:
            raise TmrlError(f"cannot resume: {error}") from None
        self.saved_episodes = self.core.episodes
        self.get_logger().info(f"resumed after {self.core.version} decisions, {self.core.sac.updates} updates")

    def _on_observation(self, message) -> None:
        self._learn(self.assembler.observe(convert.from_msg(message)))

    def _on_decision(self, message) -> None:
        decision = convert.from_msg(message)
        if decision.source == Mode.POLICY and decision.decision >= self.core.version:
            self._learn(self.assembler.decide(decision))

    def _learn(self, transitions) -> None:
        for transition in transitions:
            self.core.add(transition)
            start_s = time.monotonic()
            metrics = self.core.learn()
            if metrics:
                metrics["latency/learn_ms"] = 1e3 * (time.monotonic() - start_s)
            if self.core.version % self.config.versions.period == 0:
                self._publish(metrics)
            if self.core.episodes >= self.saved_episodes + self.config.checkpoint_episodes:
                self._save()

    def _publish(self, metrics: dict[str, float]) -> None:
        parameters = self.core.actor_bytes() if self.core.warm else b""
        stamp_ns = self.get_clock().now().nanoseconds
        method = self.config.method
        self.updates.publish(convert.actor_update_msg(stamp_ns, self.core.version, method, parameters, metrics))

    def _save(self) -> None:
        self.saved_episodes = self.core.episodes
        if self.assembler.dropped:
            self.get_logger().warning(f"decisions not learned from: {dict(self.assembler.dropped)}")
        if self.folder:
            self.core.save(self.folder / STATE)
            self.core.save_actor(self.folder / ACTOR)

    def close(self) -> None:
        """The last checkpoint, so that an evaluation uses everything learned."""
        if self.core.version:
            self._save()


def main():
    runtime.run(Learner)
