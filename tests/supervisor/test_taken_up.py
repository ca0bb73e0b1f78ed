"""A supervisor that is told what a stopped session had used: it counts on, and no start state comes twice."""

import pytest
from standin import chunk_for, session

from tmrl_ros.config import Resume
from tmrl_ros.types import Decision, SessionState

BEFORE = Resume(robot_time_s=50.0, next_episode=7, decisions=40, episodes=6, successes=4, holds=1)


def taken_up(**values):
    return session(chunk_for, mode="finetune", resume=BEFORE, **values)


def test_counters_and_robot_time_go_on():
    run = taken_up(session_min=1.0)
    before = run.core.status()
    counted = (before.robot_time_s, before.episode, before.decisions, before.episodes, before.successes, before.holds)
    assert counted == (50.0, 7, 40, 6, 4, 1)
    run.run()
    after = run.core.status()
    assert after.state == SessionState.ENDED and after.robot_time_s == pytest.approx(60.0)
    assert [request.episode for request in run.resets] == list(range(7, 7 + len(run.resets)))
    assert [decision.decision for decision in run.of(Decision)] == list(range(40, after.decisions))
    assert after.episodes == 6 + sum(event.counted for event in run.ends())
    assert run.of(Decision)[0].robot_time_s > 50.0


def test_a_session_whose_time_was_up_ends_before_anything_moves():
    run = taken_up(session_min=0.5)
    run.run(seconds=1.0)
    assert run.core.status().state == SessionState.ENDED and not run.resets and not run.of(Decision)
    assert not any(window.dq.any() for window in run.windows)
