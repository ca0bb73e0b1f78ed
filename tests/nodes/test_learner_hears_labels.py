"""The learner node hears a person's label of an episode, and what it heard is in its log among the transitions."""

import time

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")
import rclpy

from tmrl_ros.config import BaseConfig
from tmrl_ros.data import transition_log
from tmrl_ros.nodes import convert, learner, runtime, topics
from tmrl_ros.policy.base import BasePolicy
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
    made.close()
    made.destroy_node()
    rclpy.shutdown()


@pytest.fixture(autouse=True)
def as_busy_as_before(monkeypatch):
    monkeypatch.setattr(learner.niceness, "be_nice", lambda name: None)


def event(kind: str, success: bool) -> EpisodeEvent:
    return EpisodeEvent(SECOND + 1, 0, kind, Mode.POLICY, False, success, True, 1, "time", 1.0)


def test_a_label_is_kept_where_it_came_and_other_events_are_not(node, tmp_path):
    lab, executor = rclpy.create_node("lab"), runtime.make_executor()
    executor.add_node(node)
    executor.add_node(lab)

    def until(condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s
            executor.spin_once(timeout_sec=0.05)

    def publish(topic, *records):
        publisher = topic.publisher(lab)
        until(publisher.get_subscription_count)
        for record in records:
            publisher.publish(convert.to_msg(record))

    def kept() -> list:
        records = transition_log.records(tmp_path / "checkpoints" / transition_log.LOG)
        return [record if isinstance(record, Label) else record.decision for record in records]

    chosen, actions = Modulation(np.zeros(4, np.float32), 0.1), np.zeros((8, 4), np.float32)
    publish(
        topics.OBSERVATION.lossless(True), *(Observation(k * SECOND + 1, np.zeros(3, np.float32)) for k in range(2))
    )
    ran = Decision(1, SECOND + 1, 0, 0, Mode.POLICY, actions, chosen, 0, -1.0, False, True, False, False, 1.0)
    publish(topics.DECISION, ran)
    until(lambda: kept() == [0])
    publish(topics.EPISODE_EVENT, event("started", False), event("ended", False), event("labelled", True))
    until(lambda: len(kept()) > 1)
    assert kept() == [0, Label(0, True)] and node.learning.core.replay.rows["reward"][0] == 0
    lab.destroy_node()
