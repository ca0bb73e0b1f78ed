"""Lockstep: a seed gives one session, over DDS as in one process."""

from dataclasses import fields

import numpy as np
import pytest

from tmrl_ros.config import LearnerConfig, PolicyConfig, SimConfig, SupervisorConfig, validate
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes.convert import from_msg, to_msg
from tmrl_ros.nodes.replay import records
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.server import PolicyServer
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.session.starter import run_session
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import Decision, EpisodeEvent

PATIENCE_S = 60.0  # of wall time: a machine that stalls must not change the session


def said(all_records) -> list[Decision | EpisodeEvent]:
    return [record for record in all_records if isinstance(record, (Decision, EpisodeEvent))]


def plain(value):
    """Records as nested tuples, so that arrays compare bit for bit."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if hasattr(value, "__dataclass_fields__"):
        return type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value))
    return value


def in_one_process(specs) -> list[Decision | EpisodeEvent]:
    """The same graph without processes; records as they would come over DDS, in float32 where messages are."""
    parameters = {spec.name: spec.parameters for spec in specs}
    sim, supervisor = validate(SimConfig, parameters["sim"]), validate(SupervisorConfig, parameters["supervisor"])
    policy, learner = validate(PolicyConfig, parameters["policy"]), validate(LearnerConfig, parameters["learner"])
    base, heard = BasePolicy.load(policy.base), []
    InProcessSession(
        SimRobot(sim.task, sim.timing, sim.shift, sim.seed),
        SupervisorCore(supervisor),
        PolicyServer(policy, base),
        Learner(learner, base),
        watch=heard.append,
    ).run()
    return [from_msg(to_msg(record)) for record in said(heard)]


def split(records):
    return [plain(r) for r in records if isinstance(r, Decision)], [
        plain(r) for r in records if isinstance(r, EpisodeEvent)
    ]


def test_in(tmp_path, finetuning):
    a = in_one_process(finetuning(tmp_path / "a", PATIENCE_S, seed=5, minutes=0.7))
    b = in_one_process(finetuning(tmp_path / "a", PATIENCE_S, seed=5, minutes=0.7))
    assert split(a) == split(b)
    import collections
    print(len(a), collections.Counter(type(r).__name__ for r in a), {d.actor_version for d in a if isinstance(d, Decision)})
    specs = finetuning(tmp_path / "r", PATIENCE_S, seed=5, minutes=0.7)
    import time; t=time.time()
    assert run_session(specs, tmp_path / "r") == 0
    print("ros", time.time()-t)
    c = said(records(tmp_path / "r/bag"))
    da, ea = split(a); dc, ec = split(c)
    print(len(da), len(dc), len(ea), len(ec))
    for i, (x, y) in enumerate(zip(da, dc)):
        if x != y:
            print(i, [ (p[:200] if isinstance(p,(bytes,str)) else p, q) for p, q in zip(x, y) if p != q]); break
    assert ea == ec and da == dc
