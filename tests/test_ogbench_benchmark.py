"""The published ground: worlds that play, demonstrations that reach their goals, intervals that hold what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ogbench")
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.ground.training import Budget, Run
from benchmarks.ground.worlds import (
    Arena,
    World,
    cube_as_goal,
    cube_state,
    end_as_goal,
    make,
    maze_state,
    navigate,
    play,
)
from tmrl_ros.config import BaseConfig
from tmrl_ros.policy.pretrain import pretrain

SAC = {"batch": 8, "updates_per_decision": 1}
MAZE = World("pointmaze-medium-v0", 60, 8, 4, 400, maze_state, navigate("pointmaze-medium-v0"), sac=SAC)
CUBE = World("cube-single-v0", 20, 8, 4, 200, cube_state, play("cube-single-v0"))


@pytest.fixture(scope="module")
def demos():
    return MAZE.demos(0)


def test_maze_demonstrations_end_within_the_goal_radius(demos):
    last = demos.states[demos.reached[demos.ends - 1]]
    step_m = 0.2 * 2**0.5
    assert (np.linalg.norm(last[:, :2] - last[:, 2:], axis=1) <= make(MAZE.env)._goal_tol + step_m + 0.01).all()


def test_chunks_are_the_actions_that_followed(demos):
    chunks = demos.chunks(MAZE.horizon)
    assert chunks.shape == (len(demos.chunked), MAZE.horizon, 2)
    np.testing.assert_array_equal(chunks[:-1, 1], demos.actions[demos.chunked[:-1] + 1])
    assert demos.chunked.max() + MAZE.horizon == len(demos.actions)


def test_one_seed_gives_one_set_of_demonstrations(demos):
    again = MAZE.demos(0)
    np.testing.assert_array_equal(again.states, demos.states)
    assert not np.array_equal(MAZE.demos(1).states[:50], demos.states[:50])


def test_the_references_goals_are_the_cubes_place_and_the_trajectorys_end(demos):
    cubes = CUBE.demos(0)
    np.testing.assert_array_equal(cube_as_goal(cubes.states)[:, 28:31], cubes.states[:, 19:22])
    assert len(cubes.ends) and cubes.states.shape == (1000, 31)
    assert not np.array_equal(cubes.states[:, 28:31], cubes.states[:, 19:22])
    labelled = end_as_goal(demos.states)
    np.testing.assert_array_equal(labelled[:, :2], demos.states[:, :2])
    assert (labelled[:1000, 2:] == demos.states[999, :2]).all()


@pytest.mark.parametrize("world", [MAZE, CUBE])
def test_a_start_state_is_its_seed_and_time_runs_out(world):
    arena = Arena(world)
    first = arena.reset(7)
    np.testing.assert_array_equal(arena.reset(7), first)
    assert not np.array_equal(arena.reset(12), first)
    dim = arena.env.action_space.shape[0]
    _, success, timeout = arena.play(np.zeros((world.limit, dim), np.float32))
    assert (success, timeout) == (False, True)


@pytest.mark.parametrize("method", ["tmrl", "dsrl", "rlpd"])
def test_a_run_goes_through_and_repeats(method, demos):
    torch.set_num_threads(1)
    kind = "csp" if method == "tmrl" else "plain"
    base = pretrain(
        {"state": demos.states[demos.chunked]}, demos.chunks(8), BaseConfig(kind=kind, steps=2, width=16), 0
    )
    budget = Budget(8, evaluations=1, episodes=2, final_episodes=2, arenas=2, warmup=4)
    outcomes = [Run(MAZE, method, base, demos, 0, budget).finetune() for _ in range(2)]
    for outcome in outcomes:
        for point in outcome["curve"]:
            point.pop("wall_s", None)
        outcome.pop("wall_s")
    assert outcomes[0] == outcomes[1]
    assert [point["decisions"] for point in outcomes[0]["curve"]] == [0, 8]
