"""The learner is killed in the middle of a session: the robot goes on, the learner comes back, the session ends."""

import os
import re
import signal
import time

import numpy as np
import pytest
from rclpy.serialization import deserialize_message

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits, validate
from tmrl_ros.data import bag, transition_log
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes import convert, topics
from tmrl_ros.nodes.convert import from_msg, to_msg
from tmrl_ros.nodes.replay import metrics, records
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session.graph import MODELS
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.session.replay import identical
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import Decision, Mode, SessionState

PATIENCE_S = 60.0  # of wall time, for what a busy machine does slowly
LEARNER_PATIENCE_S = 3.0  # the policy waits so long for the learner before it goes on with stale weights
MINUTES = 4.0  # of robot time: several times what a learner needs to come back
RESUMED_S = 10.0  # of robot time, from a hold to the next episode
BEFORE_KILL, ALONE = 16, 20  # decisions
MARGIN_M = 0.005  # of a commanded TCP beyond the workspace: its stop distance is rounded to ticks


def heard(folder, topic):
    """Records of one topic in a bag."""
    kind = topic.type
    for message in bag.read(folder, {f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"}):
        yield convert.from_msg(deserialize_message(message.data, kind))


@pytest.fixture(scope="module")
def session(tmp_path_factory, finetuning):
    """(folder, statuses, sentences of the starter) of a session whose learner was killed once."""
    folder = tmp_path_factory.mktemp("killed")
    pids, statuses, sentences, killed_at = {}, [], [], []

    def on_status(status):
        statuses.append(status)
        saved = (folder / "checkpoints/learner/meta.json").exists()
        if not killed_at:
            if saved and status.decisions >= BEFORE_KILL:
                os.kill(pids["learner"], signal.SIGKILL)
                killed_at.append(status.decisions)
        elif not is_back(folder) and status.decisions >= killed_at[0] + ALONE:
            pause_until(pids["policy"], lambda: is_back(folder))

    specs = finetuning(folder, PATIENCE_S, LEARNER_PATIENCE_S, minutes=MINUTES)
    assert run_session(specs, folder, on_status, sentences.append, on_started=pids.update) == 0
    assert killed_at, "the session was over before the learner could be killed"
    return folder, statuses, sentences


def is_back(folder):
    return "resumed after" in (folder / "logs/learner.log").read_text()


def pause_until(pid, condition):
    """Stops a process meanwhile: robot time runs on, and a busy machine may need all of it to start a learner."""
    os.kill(pid, signal.SIGSTOP)
    end_s = time.monotonic() + PATIENCE_S / 2
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.1)
    os.kill(pid, signal.SIGCONT)


def test_the_session_runs_to_its_end(session):
    _, statuses, sentences = session
    assert sentences == ["learner ended with status -9 and starts again (1 of 3)"]
    assert statuses[-1].state == SessionState.ENDED
    assert statuses[-1].reason == f"{MINUTES:g} robot-minutes are over"
    assert statuses[-1].robot_time_s == pytest.approx(60 * MINUTES)


def test_the_learner_resumes_from_its_checkpoint_and_teaches_the_robot_again(session):
    folder, _, _ = session
    resumed = re.findall(r"resumed after (\d+) decisions", (folder / "logs/learner.log").read_text())
    assert len(resumed) == 1 and int(resumed[0]) > 0
    published = list(metrics(folder / "bag"))
    back = max(n for n, row in enumerate(published) if row == {"version": int(resumed[0])})  # said at once, no metrics
    versions = [row["version"] for row in published]
    used = [record.actor_version for record in records(folder / "bag") if isinstance(record, Decision)]
    assert max(versions[back:]) > max(versions[:back])
    assert used[-1] > max(versions[:back])


def test_where_the_policy_waits_a_kill_changes_nothing(finetuning, tmp_path):
    """Lockstep with patience: decisions, actors and the last checkpoint are those of a session that nothing stopped."""
    pids, again = {}, tmp_path / "killed"

    def on_status(status):
        if "learner" in pids and status.decisions >= BEFORE_KILL:
            os.kill(pids.pop("learner"), signal.SIGKILL)

    specs = finetuning(again, PATIENCE_S, minutes=0.8)
    assert run_session(specs, again, on_status, on_started=pids.update) == 0
    assert is_back(again), "the kill came too late"
    nodes, whole = {spec.name: validate(MODELS[spec.name], spec.parameters) for spec in specs}, []
    reference = InProcessSession.of_nodes(nodes, whole.append)
    reference.run()
    expected = [from_msg(to_msg(record)) for record in whole if isinstance(record, Decision)]
    got = [record for record in records(again / "bag") if isinstance(record, Decision)]
    assert len(got) > BEFORE_KILL and identical(got, expected)
    left = Learner(nodes["learner"], BasePolicy.load(nodes["learner"].base))
    left.restore(again / "checkpoints/learner")
    assert left.version >= reference.learner.version - 1
    log = list(transition_log.read(again / "checkpoints" / transition_log.LOG))
    assert [t.decision for t in log] == sorted({t.decision for t in log}) and log[-1].decision + 1 == left.version


def test_nothing_holds_for_want_of_a_learner_and_every_hold_has_a_reason(session):
    statuses = list(heard(session[0] / "bag", topics.SESSION_STATUS))
    assert not any(status.mode == Mode.FAULT or "silent" in status.reason for status in statuses)
    for number, status in enumerate(statuses):
        if status.reason and status.state == SessionState.RUNNING:
            assert status.mode == Mode.HOLD and "external force" in status.reason
            goes_on = any(later.mode == Mode.POLICY for later in statuses[number:])
            assert goes_on or status.robot_time_s > 60 * MINUTES - RESUMED_S


def test_the_robots_commands_stay_bounded(session):
    windows = list(heard(session[0] / "bag", topics.TRAJECTORY))
    limits = SafetyLimits()
    assert len(windows) == pytest.approx(60 * MINUTES * 20, abs=20)
    np.testing.assert_array_equal(np.diff([window.stamp_ns for window in windows]), 50_000_000)
    assert not any(window.dq[-1].any() for window in windows)
    assert max(np.abs(window.dq / fr3.RECTANGULAR_DQ_MAX).max() for window in windows) <= 1 + 1e-6
    tcp_m = np.array([kinematics.forward(window.q[-1])[0] for window in windows])
    assert (tcp_m > np.subtract(limits.workspace_min_m, MARGIN_M)).all()
    assert (tcp_m < np.add(limits.workspace_max_m, MARGIN_M)).all()
