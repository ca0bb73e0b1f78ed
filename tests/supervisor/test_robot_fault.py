"""While the robot says that something is wrong it is not commanded, and afterwards it holds where it is."""

import numpy as np
import pytest
from standin import chunk_for, session

from tmrl_ros.errors import TmrlError
from tmrl_ros.types import Mode

SAYS = "the robot is in a reflex (cartesian reflex); look why, then call recover"


def forward(request):
    return chunk_for(request, np.tile(np.array([0.5, 0.5, 0, 1], np.float32), (16, 1)))


@pytest.fixture
def run():
    """A session whose arm moves, told of a reflex."""
    made = session(forward, episodes=100).run(until=lambda s: np.abs(s.dq).max() > 0.05)
    made.core.robot_fault(SAYS)
    return made


def test_the_arm_stops_with_a_fault_that_says_what_the_robot_said(run):
    run.run(0.5)
    status = run.core.status()
    assert (status.mode, status.reason, status.holds) == (Mode.FAULT, SAYS, 1)
    assert not run.windows[-1].dq.any() and run.ends()[-1].reason == SAYS


def test_nobody_resumes_while_it_lasts_and_nothing_resumes_by_itself(run):
    run.run(1.0)
    with pytest.raises(TmrlError, match="cartesian reflex"):
        run.core.resume()
    run.core.robot_fault("")
    run.run(5.0)
    assert run.core.status().mode == Mode.FAULT
    run.core.resume()
    run.run(2.0)
    assert run.core.status().mode == Mode.POLICY


def test_nor_does_auto_resume():
    made = session(forward, episodes=100, auto_resume_s=0.5).run(until=lambda s: np.abs(s.dq).max() > 0.05)
    made.core.robot_fault(SAYS)
    made.run(3.0)
    assert made.core.status().mode == Mode.FAULT


def test_the_command_follows_an_arm_that_was_moved_meanwhile_and_holds_it_there(run):
    run.run(1.0)
    moved = run.q + np.array([0.4, 0, 0, 0.1, 0, 0, 0])
    run.q = moved
    run.tick()
    np.testing.assert_array_equal(run.windows[-1].q[0], moved)
    run.core.robot_fault("")
    run.run(0.5)
    np.testing.assert_array_equal(run.windows[-1].q, np.repeat(moved[None], len(run.windows[-1].q), 0))
    run.core.resume()
