"""The two worlds of the published ground: OGBench's own environments, and demonstrations made with them.

OGBench's data sets cannot be downloaded here, so they are made as its scripts make them (seohongpark/ogbench,
data_gen_scripts): `navigate` for pointmaze, a shortest-path expert with action noise 0.5 that is given a new goal
whenever it reaches one; `play` for cube, the wheel's open-loop pick-and-place planner with its own noise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import ogbench  # noqa: F401  registers the environments

CENTRE_M, SCALE = np.array([0.425, 0.0, 0.0]), 10.0  # as OGBench's own observation scales positions
TRAJECTORY = 1000  # rows from one reset of a collecting environment to the next
CUBE, GOAL = slice(19, 22), slice(28, 31)  # in the state of the cube's world


@dataclass(frozen=True)
class Demos:
    """All rows as they were collected, and which of them are demonstrations that reached their goal."""

    states: np.ndarray
    actions: np.ndarray
    chunked: np.ndarray  # rows that begin a whole chunk
    reached: np.ndarray  # rows of demonstrations up to their first success, end to end
    ends: np.ndarray  # of each, within `reached`

    def chunks(self, horizon: int) -> np.ndarray:
        """What was done from each chunked row on [n, horizon, action_dim]."""
        return self.actions[self.chunked[:, None] + np.arange(horizon)]


@dataclass(frozen=True)
class World:
    """What is learned where: `collect` makes demonstrations, `env` is fine-tuned on, over its five published tasks."""

    env: str
    limit: int  # steps an episode, as OGBench registers it
    horizon: int  # rows a chunk
    execution: int  # rows of it that run
    rows: int  # of demonstrations, about
    state: Callable[[gymnasium.Env], np.ndarray]
    collect: Callable[[int, int], "Stream"]  # (rows, seed)
    label: Callable[[np.ndarray], np.ndarray] = np.asarray  # states with the goals that the base policy is told
    base: dict[str, Any] = field(default_factory=dict)  # of BaseConfig
    actor: dict[str, Any] = field(default_factory=dict)  # of ActorConfig
    sac: dict[str, Any] = field(default_factory=dict)  # of SacConfig

    def demos(self, seed: int) -> Demos:
        """Successful demonstrations."""
        return self.collect(self.rows, seed).cut(self.horizon)


@dataclass
class Stream:
    """Rows as they are collected; rows of one goal are one demonstration if the goal was reached."""

    states: list = field(default_factory=list)
    actions: list = field(default_factory=list)
    done: list = field(default_factory=list)  # whether this row's action reached the goal
    goals: list = field(default_factory=list)  # a number for each goal
    episodes: list = field(default_factory=list)  # and for each reset

    def add(self, *row: Any) -> None:
        """One row, in the order of the fields."""
        for values, value in zip(vars(self).values(), row, strict=True):
            values.append(value)

    def cut(self, horizon: int) -> Demos:
        """Find the demonstrations; chunks run on into what was done next, never across a reset."""
        states, actions, done, goals, episodes = (np.array(values) for values in vars(self).values())
        whole = np.append(episodes, np.full(horizon, -1))[horizon - 1 : -1] == episodes
        parts = np.split(np.arange(len(done)), np.flatnonzero(np.diff(goals)) + 1)
        demos = [part[: done[part].argmax() + 1] for part in parts if done[part].any()]
        ends = np.cumsum([len(demo) for demo in demos])
        return Demos(np.float32(states), np.float32(actions), np.flatnonzero(whole), np.concatenate(demos), ends)


class Arena:
    """One copy of a world's environment, played a chunk at a time."""

    def __init__(self, world: World):
        self.world, self.env, self.steps = world, make(world.env), 0

    def reset(self, seed: int) -> np.ndarray:
        """A start state of task 1 + seed % 5; OGBench draws some of it from numpy's global generator."""
        np.random.seed(seed % 2**32)
        self.env.reset(seed=seed, options={"task_id": 1 + seed % 5})
        self.steps = 0
        return self.world.state(self.env)

    def play(self, rows: np.ndarray) -> tuple[np.ndarray, bool, bool]:
        """Run `rows` [n, action_dim] until success or time-out: next state, success, time-out."""
        for row in rows:
            success = bool(self.env.step(row)[4]["success"])
            self.steps += 1
            if success or self.steps == self.world.limit:
                break
        return self.world.state(self.env), success, self.steps == self.world.limit and not success


def make(name: str, **options) -> gymnasium.Env:
    """The bare environment: time limits are counted here, and its spaces need no checks."""
    return gymnasium.make(name, disable_env_checker=True, **options).unwrapped


def maze_state(env: gymnasium.Env) -> np.ndarray:
    """[x, y, goal x, goal y] in m."""
    return np.float32([*env.get_xy(), *env.cur_goal_xy])


def navigate(maze: str) -> Callable[[int, int], Stream]:
    """Demonstrations of a shortest-path expert in `maze`, episodes of 1000 steps as OGBench's `navigate`."""

    def collect(rows: int, seed: int) -> Stream:
        np.random.seed(seed)
        env, rng, stream, goal = make(maze, terminate_at_goal=False), np.random.default_rng(seed), Stream(), 0
        cells = np.argwhere(env.maze_map == 0)
        corners = [cell for cell in cells if not _hallway(env.maze_map == 0, *cell)]
        for episode in range(-(-rows // TRAJECTORY)):
            ends = {"init_ij": rng.choice(cells), "goal_ij": rng.choice(corners)}
            env.reset(seed=seed + episode, options={"task_info": ends})
            steps, goal = _steps_to_goal(env), goal + 1
            for _ in range(TRAJECTORY):
                state, way = maze_state(env), _way(env, steps)
                action = np.clip(way + rng.normal(0, 0.5, 2), -1, 1)
                success = bool(env.step(action)[4]["success"])
                stream.add(state, action, success, goal, episode)
                if success:
                    env.set_goal(goal_ij=rng.choice(corners))
                    steps, goal = _steps_to_goal(env), goal + 1
        return stream

    return collect


def _steps_to_goal(env: gymnasium.Env) -> np.ndarray:
    """Cells to go from each cell, -1 for walls."""
    return env.get_oracle_subgoal(env.get_xy(), env.cur_goal_xy)[1]


def _way(env: gymnasium.Env, steps: np.ndarray) -> np.ndarray:
    """Unit vector to the middle of the neighbouring cell that is nearest to the goal, or of this one at the goal."""
    i, j = env.xy_to_ij(env.get_xy())
    around = [cell for cell in ((i, j), (i - 1, j), (i, j - 1), (i + 1, j), (i, j + 1)) if steps[cell] >= 0]
    way = np.subtract(env.ij_to_xy(min(around, key=steps.__getitem__)), env.get_xy())
    return way / (np.linalg.norm(way) + 1e-6)


def _hallway(free: np.ndarray, i: int, j: int) -> bool:
    """Whether cell (i, j) only leads straight on; OGBench puts no goals there."""
    up, down, left, right = free[i - 1, j], free[i + 1, j], free[i, j - 1], free[i, j + 1]
    return (up and down and not left and not right) or (left and right and not up and not down)


def cube_state(env: gymnasium.Env) -> np.ndarray:
    """OGBench's 28 numbers, then the goal position scaled as the cube's is."""
    goal = env.data.mocap_pos[env._cube_target_mocap_ids[0]]
    return np.float32([*env.compute_observation(), *(goal - CENTRE_M) * SCALE])


def end_as_goal(states: np.ndarray) -> np.ndarray:
    """The reference's goal of a maze's row: where its trajectory of 1000 rows ends, whatever the expert meant there."""
    trajectories = states.reshape(-1, TRAJECTORY, states.shape[1]).copy()
    trajectories[:, :, 2:] = trajectories[:, -1:, :2]
    return trajectories.reshape(states.shape)


def cube_as_goal(states: np.ndarray) -> np.ndarray:
    """The reference's goal of a cube's row (OGBench's oracle_reps of the same row): where the cube is then."""
    states = states.copy()
    states[:, GOAL] = states[:, CUBE]
    return states


def play(name: str) -> Callable[[int, int], Stream]:
    """Rows of OGBench's `play` planner."""

    def collect(rows: int, seed: int) -> Stream:
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

        np.random.seed(seed)
        env, stream, goal = make(name, terminate_at_goal=False, mode="data_collection"), Stream(), 0
        planner = CubePlanOracle(env=env)
        for episode in range(-(-rows // TRAJECTORY)):
            _, info = env.reset(seed=seed + episode)
            planner.reset(None, info)
            goal += 1
            for _ in range(TRAJECTORY):
                state, action = cube_state(env), np.clip(planner.select_action(None, info), -1, 1)
                info = env.step(action)[4]
                stream.add(state, action, bool(info["success"]), goal, episode)
                if planner.done:
                    _, info = env.set_new_target(p_stack=0.0)
                    planner.reset(None, info)
                    goal += 1
        return stream

    return collect
