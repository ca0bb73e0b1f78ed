"""The learner node: what it hears is in its log where it came, and in its last checkpoint when it is ended."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")
import rclpy
from rclpy.duration import Duration

from tmrl_ros.config import BaseConfig
from tmrl_ros.data import transition_log
from tmrl_ros.learner.core import LEARNER_FORMAT
from tmrl_ros.nodes import convert, learner, runtime, topics
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint
from tmrl_ros.types import Decision, EpisodeEvent, Label, Mode, Modulation, Observation

PATIENCE_S = 60.0
SECOND = 10**9


@pytest.fixture
def node(ros_domain, tmp_path):
    """A learner in this process: another would need as long to import torch as all else here takes."""
    torch.manual_seed(0)
    BasePolicy(BaseConfig(width=16, layers=1), 3, 4, 16).eval().save(tmp_path / "base", {})
    values = {"base": tmp_path / "base", "checkpoint": tmp_path / "checkpoints"}
    options = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", *options])
    made = learner.Learner()
    yield made
    if rclpy.ok():
        made.close()
    made.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture(autouse=True)
def as_busy_as_before(monkeypatch):
    monkeypatch.setattr(learner.niceness, "be_nice", lambda name: None)


def event(kind: str, success: bool) -> EpisodeEvent:
    return EpisodeEvent(SECOND + 1, 0, kind, Mode.POLICY, False, success, True, 1, "time", 1.0)


@pytest.fixture
def lab(node):
    """A node beside the learner: `publish(topic, *records)` once that is there, `until(condition)` spins both."""
    made, executor = rclpy.create_node("lab"), runtime.make_executor()
    executor.add_node(node)
    executor.add_node(made)

    def until(condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s
            executor.spin_once(timeout_sec=0.05)

    def publish(topic, *records):
        publisher = topic.publisher(made)
        until(publisher.get_subscription_count)
        for record in records:
            publisher.publish(convert.to_msg(record))
        return publisher

    yield SimpleNamespace(publish=publish, until=until)
    made.destroy_node()


def observations(count: int) -> list[Observation]:
    return [Observation(k * SECOND + 1, np.zeros(3, np.float32)) for k in range(count)]


def decision(number: int) -> Decision:
    chosen, actions = Modulation(np.zeros(4, np.float32), 0.1), np.zeros((8, 4), np.float32)
    begin_ns, end_ns = number * SECOND + 1, (number + 1) * SECOND + 1
    return Decision(
        begin_ns, end_ns, 0, number, Mode.POLICY, actions, chosen, 0, -1.0, False, True, False, False, number + 1.0
    )


def test_a_label_is_kept_where_it_came_and_other_events_are_not(node, lab, tmp_path):
    def kept() -> list:
        records = transition_log.records(tmp_path / "checkpoints" / transition_log.LOG)
        return [record if isinstance(record, Label) else record.decision for record in records]

    lab.publish(topics.OBSERVATION.lossless(True), *observations(2))
    lab.publish(topics.DECISION, decision(0))
    lab.until(lambda: kept() == [0])
    lab.publish(topics.EPISODE_EVENT, event("started", False), event("ended", False), event("labelled", True))
    lab.until(lambda: len(kept()) > 1)
    assert kept() == [0, Label(0, True)] and node.learning.core.replay.rows["reward"][0] == 0


def test_what_reached_the_learner_before_a_signal_ended_it_is_in_its_last_checkpoint(node, lab, tmp_path):
    count = 2 * node.config.versions.period  # so that an actor is due, and cannot be published any more
    for topic, records in (
        (topics.OBSERVATION.lossless(True), observations(count + 1)),
        (topics.DECISION, [decision(number) for number in range(count)]),
        (topics.EPISODE_EVENT, [event("labelled", True)]),
    ):
        assert lab.publish(topic, *records).wait_for_all_acked(Duration(seconds=10))
    node.context.handle.shutdown()  # as rclpy's handler of signals does
    node.close()
    tensors, meta = read_checkpoint(tmp_path / "checkpoints" / transition_log.STATE, LEARNER_FORMAT)
    assert meta["version"] == count and tensors["replay.reward"][:count].tolist() == [-1.0] * (count - 1) + [0.0]
