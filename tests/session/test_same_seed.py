"""Lockstep: a seed gives one session, over DDS as in one process."""

from dataclasses import fields

import numpy as np
import pytest

from tmrl_ros.config import validate
from tmrl_ros.nodes.convert import from_msg, to_msg
from tmrl_ros.nodes.replay import records
from tmrl_ros.session.graph import MODELS
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import Decision, EpisodeEvent

PATIENCE_S = 60.0  # of wall time: a machine that stalls must not change the session
MINUTES = 0.8
SEED = 7


@pytest.fixture(scope="module")
def over_dds(finetuning, tmp_path_factory):
    """over_dds(): (decisions, events) of the session with SEED and every node as a process."""

    def session():
        folder = tmp_path_factory.mktemp("over_dds")
        assert run_session(finetuning(folder, PATIENCE_S, seed=SEED, minutes=MINUTES), folder) == 0
        return published(records(folder / "bag"))

    return session


@pytest.fixture(scope="module")
def first(over_dds):
    return over_dds()


@pytest.fixture
def in_one_process(finetuning, tmp_path):
    """in_one_process(seed): the same without processes, in float32 where messages are."""

    def session(seed):
        specs, heard = finetuning(tmp_path, PATIENCE_S, seed=seed, minutes=MINUTES), []
        nodes = {spec.name: validate(MODELS[spec.name], spec.parameters) for spec in specs}
        InProcessSession.of_nodes(nodes, heard.append).run()
        return published(from_msg(to_msg(record)) for record in heard if isinstance(record, (Decision, EpisodeEvent)))

    return session


def published(heard):
    """(decisions, events) as dicts that compare bit for bit."""
    heard = list(heard)
    return tuple([plain(record) for record in heard if isinstance(record, kind)] for kind in (Decision, EpisodeEvent))


def plain(value):
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def test_the_session_is_worth_comparing(first):
    decisions, events = first
    reasons = [event["reason"] for event in events if event["kind"] == "ended"]
    kinds = {reason.split(" of ")[0] for reason in reasons}
    assert "success" in kinds and len(kinds) >= 3, "the session is all alike: try another seed"
    assert len({decision["actor_version"] for decision in decisions}) > 3
    assert {decision["reward"] for decision in decisions} == {-1.0, 0.0}


def test_a_seed_gives_the_same_decisions_rewards_and_episodes_again(first, over_dds):
    decisions, events = over_dds()
    assert decisions == first[0]
    assert events == first[1]


def test_one_process_gives_them_too(first, in_one_process):
    decisions, events = in_one_process(SEED)
    assert decisions == first[0]
    assert events == first[1]


def test_another_seed_gives_another_session(first, in_one_process):
    decisions, events = in_one_process(SEED + 1)
    assert [d["actions"] for d in decisions] != [d["actions"] for d in first[0]]
    assert events != first[1]
