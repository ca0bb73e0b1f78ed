"""A session whose every process is SIGKILLed goes on where it was: robot time, counters, replay, learner and actor."""

import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest

from tmrl_ros.config import LearnerConfig, Resume, validate
from tmrl_ros.data import bag, transition_log
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes import replay
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import replay as comparing
from tmrl_ros.session import resume
from tmrl_ros.session.starter import NodeDied, run_session
from tmrl_ros.types import Decision, EpisodeEvent, SessionState

PATIENCE_S = 60.0
MINUTES = 1.2
BEFORE_KILL = 18  # decisions


def learner_of(specs) -> Learner:
    """A learner before any decision, with the session's settings."""
    values = next(spec.parameters for spec in specs if spec.name == "learner")
    config = validate(LearnerConfig, values)
    return Learner(config, BasePolicy.load(config.base))


@pytest.fixture(scope="module")
def session(finetuning, tmp_path_factory):
    """(folder, what it was at the kill, what its log made of a fresh learner, statuses after) of a session."""
    folder = tmp_path_factory.mktemp("stopped")
    specs, pids = finetuning(folder, PATIENCE_S, minutes=MINUTES), {}

    def kill_all(status):
        if pids and status.decisions >= BEFORE_KILL:
            os.kill(pids.pop("supervisor"), signal.SIGKILL)
            time.sleep(1.0)  # all hear the last decision, or bag and log differ by it (benchmarks/kills.py has those)
            for name in list(pids):
                os.kill(pids.pop(name), signal.SIGKILL)

    with pytest.raises(NodeDied):
        run_session(specs, folder, kill_all, on_started=pids.update)
    before, again, statuses = resume.point(folder), learner_of(specs), []
    for transition in transition_log.read(folder / "checkpoints" / transition_log.LOG):
        again.add(transition)
        again.learn()
    specs = finetuning(folder, PATIENCE_S, minutes=MINUTES, resume=True)
    assert run_session(specs, folder, statuses.append) == 0
    return folder, before, again, statuses


def test_robot_time_and_counters_go_on(session):
    folder, before, _, statuses = session
    assert before.robot_time_s > 10 and before.decisions >= BEFORE_KILL
    assert statuses[0].robot_time_s >= before.robot_time_s
    assert statuses[-1].state == SessionState.ENDED
    assert statuses[-1].robot_time_s == pytest.approx(60 * MINUTES)
    assert all(status.episodes >= before.episodes and status.decisions >= before.decisions for status in statuses)
    decisions = [r for r in replay.progress(folder / "bag") if isinstance(r, Decision)]
    numbers = [decision.decision for decision in decisions]
    assert numbers == sorted(set(numbers)) and numbers[-1] > before.decisions
    times_s = [decision.robot_time_s for decision in decisions]
    assert times_s == sorted(times_s)
    started = [
        r.episode for r in replay.progress(folder / "bag") if isinstance(r, EpisodeEvent) and r.kind == "started"
    ]
    assert started == sorted(set(started)), "a start state came twice"


def test_the_learner_that_comes_back_is_the_one_that_was_killed(session):
    folder, _, again, _ = session
    said = re.findall(
        r"resumed after (\d+) decisions \((\d+) of them.*state (\w+)", (folder / "logs/learner.log").read_text()
    )
    assert len(said) == 1
    assert (int(said[0][0]), said[0][2]) == (again.version, again.digest)
    assert int(said[0][1]) > 0, "the kill met a checkpoint: nothing had to come from the log"


def test_nothing_that_was_decided_is_missing_from_what_was_learned(session, finetuning):
    folder, *_ = session
    learner = learner_of(finetuning(folder, PATIENCE_S, minutes=MINUTES))
    kept = learner.restore(folder / "checkpoints/learner") and learner.replay.state()
    rebuilt = learner_of(finetuning(folder, PATIENCE_S, minutes=MINUTES))
    for transition in replay.transitions(folder / "bag", rebuilt.config.timing):
        rebuilt.add(transition)
    assert len(rebuilt.replay) > 30
    for name, values in rebuilt.replay.state().items():
        np.testing.assert_array_equal(kept[name], values, err_msg=name)


def test_the_policy_goes_on_with_an_actor(session):
    folder, before, *_ = session
    later = [r for r in replay.progress(folder / "bag") if isinstance(r, Decision) and r.decision >= before.decisions]
    assert later and all(decision.actor_version > 0 for decision in later)


def test_what_policy_and_assembler_did_comes_out_the_same_across_the_kill(session):
    folder, *_ = session
    comparison = comparing.compare(comparing.Recording.of(folder / "bag"))
    assert comparison.same, comparison.notes
    assert comparison.equal > 30 and comparison.learner_rows > 30


def test_an_actor_that_has_learned_nothing_yet_does_not_act(session, tmp_path):
    """During the warm-up the prior explores; a checkpoint has an actor all the same."""
    folder, *_ = session
    assert resume.overrides(folder)["policy"] == {"actor": str(folder / "checkpoints/actor")}
    shutil.copytree(folder, tmp_path / "run")
    meta = tmp_path / "run/checkpoints/learner/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"updates": 0}))
    assert resume.overrides(tmp_path / "run")["policy"] == {}
    meta.unlink()
    assert resume.overrides(tmp_path / "run")["policy"] == {}


def test_the_bag_is_one_bag_and_whole(session):
    folder, *_ = session
    assert [file.name for file in bag.files(folder / "bag")] == ["bag_0.mcap", "bag_1.mcap"]
    assert bag.is_complete(folder / "bag")
    assert len(list(replay.stretches(folder / "bag"))) == 2


def test_the_supervisor_is_told_all_that_was_used(session, finetuning):
    folder, *_ = session
    over = resume.point(folder)
    assert over.robot_time_s == pytest.approx(60 * MINUTES)
    specs = finetuning(folder, PATIENCE_S, minutes=MINUTES, resume=True)
    assert next(s.parameters["resume"] for s in specs if s.name == "supervisor") == over.model_dump()


def test_other_parameters_and_an_empty_folder_are_refused(session, finetuning, tmp_path):
    folder, *_ = session
    with pytest.raises(DataError, match=r"started with sim.seed = 0, not 5; go on with the same arguments"):
        run_session(finetuning(folder, PATIENCE_S, minutes=MINUTES, resume=True, seed=5), folder)
    with pytest.raises(DataError, match="holds no session that could go on"):
        finetuning(tmp_path, PATIENCE_S, resume=True)


def test_what_only_the_log_knows_counts(tmp_path, session):
    """The recorder died before the learner did: the learner's log is ahead of the bag."""
    folder, *_ = session
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "bag").mkdir()
    log = folder / "checkpoints" / transition_log.LOG
    (tmp_path / "checkpoints" / transition_log.LOG).write_bytes(log.read_bytes())
    (tmp_path / "bag/bag_0.mcap").write_bytes(b"")
    transitions = list(transition_log.read(log))
    point = resume.point(tmp_path)
    ended = [t for t in transitions if t.terminated or t.truncated]
    assert point == Resume(
        robot_time_s=transitions[-1].robot_time_s,
        next_episode=transitions[-1].episode + 1,
        decisions=transitions[-1].decision + 1,
        episodes=len(ended),
        successes=sum(t.success for t in ended),
    )
