"""The online learner: decisions, observations and labels in, actor versions out; may die and come back at any time.

Every `versions.period` decisions it publishes an ActorUpdate (empty while warming up), every `checkpoint_episodes`
episodes it writes a checkpoint. After a restart it is where it was (nodes/learning.py), is told of the decisions it
missed by the latched topic, learns from those whose observations still reach it, and counts the others as lost. Where a
session goes on (`catch_up`), it first learns from the decisions and labels in its bag that it had not been told of.
"""

from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tmrl_ros.config import LearnerConfig
from tmrl_ros.data import store
from tmrl_ros.data.assembler import Assembler
from tmrl_ros.learner.core import Learner as Core
from tmrl_ros.nodes import convert, niceness, replay, runtime, topics
from tmrl_ros.nodes.learning import Learning
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.types import Label

HEARTBEAT_S = 0.5  # of wall time


class Learner(Node):
    def __init__(self):
        super().__init__("learner", **runtime.NODE_OPTIONS)
        niceness.be_nice("learner")  # where a console script started it
        self.config = runtime.config_of(self, LearnerConfig)
        self.updates = topics.ACTOR_UPDATE.publisher(self)
        self._heard_ns = 0  # stamp of the newest observation: the time of the data, in simulation too
        stores = (store.read_named(path) for path in (self.config.demos, self.config.corrections))
        core = Core(self.config, BasePolicy.load(Path(self.config.base)), *stores)
        self.learning = Learning(core, self._publish, self.get_logger().info)
        self.learning.start()
        if self.config.catch_up:
            self._catch_up(Path(self.config.catch_up))
        self.assembler = Assembler(self.config.timing)
        topics.OBSERVATION.lossless(self.config.timing.waits).subscribe(self, self._on_observation)
        topics.DECISION.subscribe(self, self._on_decision)
        topics.EPISODE_EVENT.subscribe(self, self._on_event)
        self.heartbeats = topics.LEARNER_HEARTBEAT.publisher(self)
        self.create_timer(HEARTBEAT_S, self._beat, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _catch_up(self, bag: Path) -> None:
        before = self.learning.core.version
        for record in replay.experience(bag, self.config.timing):
            if isinstance(record, Label):
                self.learning.label(record)
            elif record.decision >= self.learning.core.version:
                self.learning.learn(record)
        self.get_logger().info(f"{self.learning.core.version - before} decisions caught up with from {bag}")

    def _beat(self) -> None:
        """Tells the policy that actors will come, also while a reset brings none."""
        self.heartbeats.publish(convert.heartbeat_msg(self._heard_ns, self.get_name()))

    def _on_observation(self, message) -> None:
        observation = convert.from_msg(message)
        self._heard_ns = max(self._heard_ns, observation.stamp_ns)
        self._learn(self.assembler.observe(observation))

    def _on_decision(self, message) -> None:
        decision = convert.from_msg(message)
        if decision.decision >= self.learning.core.version:
            self._learn(self.assembler.decide(decision))

    def _on_event(self, message) -> None:
        label = Label.of(convert.from_msg(message))
        if label:
            self.learning.label(label)

    def _learn(self, transitions) -> None:
        for transition in transitions:
            self.learning.learn(transition)

    def _publish(self, version: int, parameters: bytes, metrics: dict[str, float]) -> None:
        if not self.context.ok():
            return  # of what it is told at the end, nobody acts on the outcome
        self.updates.publish(convert.actor_update_msg(self._heard_ns, version, self.config.method, parameters, metrics))

    def close(self) -> None:
        """Called last by runtime.run, whatever ended the node: all that it was told of is in the last checkpoint."""
        try:
            runtime.take_the_rest(self)
        finally:
            if self.assembler.dropped:
                self.get_logger().warning(f"decisions not learned from: {dict(self.assembler.dropped)}")
            self.learning.close()


def main():
    runtime.run(Learner)
