"""The policy says that its learner is silent, or that its actor is old; a reset, which brings no actor, is neither."""

import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from tmrl_ros.config import BaseConfig
from tmrl_ros.nodes import convert, learner, policy, runtime, topics
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.types import DecisionRequest, Observation

PATIENCE_S = 30.0


class Beside(Node):
    """Everything around the policy: a learner that beats while `beats`, a supervisor, perception."""

    def __init__(self, context):
        super().__init__("beside", context=context)
        self.said: dict[str, DiagnosticStatus] = {}
        self.beats, self.chunks = True, []
        self.beat = topics.LEARNER_HEARTBEAT.publisher(self)
        self.actors, self.requests = topics.ACTOR_UPDATE.publisher(self), topics.DECISION_REQUEST.publisher(self)
        self.observations = topics.OBSERVATION.publisher(self)
        topics.ACTION_CHUNK.subscribe(self, self.chunks.append)
        topics.DIAGNOSTICS.subscribe(self, lambda m: self.said.update({s.name: s for s in m.status}))
        self.create_timer(learner.HEARTBEAT_S, self._beat)
        self._executor = runtime.make_executor(context)
        self._executor.add_node(self)

    def _beat(self):
        if self.beats:
            self.beat.publish(convert.heartbeat_msg(0, "learner"))

    def level(self, name):
        return self.said[name].level if name in self.said else None

    def until(self, condition, patience_s=PATIENCE_S):
        end_s = time.monotonic() + patience_s
        while not condition() and time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.05)
        return condition()

    def ask(self, decision):
        """A chunk for this decision."""
        before = len(self.chunks)
        self.observations.publish(convert.to_msg(Observation(decision + 1, np.zeros(len(STATE_NAMES), np.float32))))
        self.requests.publish(convert.to_msg(DecisionRequest(decision + 1, 0, decision, False)))
        assert self.until(lambda: len(self.chunks) > before)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("base")
    chunks = rng.uniform(-1, 1, (16, 16, 4)).astype(np.float32)
    states = {"state": rng.normal(size=(16, len(STATE_NAMES))).astype(np.float32)}
    pretrain(states, chunks, BaseConfig(kind="plain", width=16, layers=1, steps=5), 0).save(folder, {})
    return folder


@pytest.fixture
def beside(ros, base):
    context, start = ros
    start("policy", **{"method": "base", "base": str(base), "timing.real_time": True, "timing.command_hz": 50})
    node = Beside(context)
    assert node.until(lambda: node.level("policy: learner") == DiagnosticStatus.OK)
    yield node
    node.destroy_node()


def test_a_silent_learner_is_told_within_5_s_and_one_that_beats_through_a_long_reset_is_not(beside):
    ok = lambda: beside.level("policy: learner") == DiagnosticStatus.OK  # noqa: E731
    assert not beside.until(lambda: not ok(), policy.STALE_S + 1.5)
    beside.beats, since_s = False, time.monotonic()
    assert beside.until(lambda: beside.level("policy: learner") == DiagnosticStatus.STALE)
    assert time.monotonic() - since_s < 5.0
    beside.beats = True
    assert beside.until(ok)


def test_an_actor_that_many_decisions_have_gone_by_is_told_until_a_newer_one_comes(beside):
    level = lambda: beside.level("policy: node")  # noqa: E731
    beside.ask(0)
    beside.ask(100)
    beside.said.clear()
    assert beside.until(level) == DiagnosticStatus.OK  # nobody ever published an actor: none is awaited
    beside.actors.publish(convert.actor_update_msg(0, 96, "base", b"", {}))
    beside.until(lambda: False, 0.3)
    beside.ask(101)
    beside.ask(96 + 4 * policy.OLD_PERIODS + 1)
    assert beside.until(lambda: level() == DiagnosticStatus.WARN)
    assert "13 decisions" in beside.said["policy: node"].message
    beside.actors.publish(convert.actor_update_msg(0, 108, "base", b"", {}))
    beside.until(lambda: False, 0.3)
    beside.ask(110)
    assert beside.until(lambda: level() == DiagnosticStatus.OK)
