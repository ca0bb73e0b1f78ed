"""The two worlds of the published ground: OGBench's own environments, and demonstrations made with them.

OGBench's data sets cannot be downloaded here, so they are made the way its generating scripts make them (repository
seohongpark/ogbench, `data_gen_scripts`): `navigate` for pointmaze, a shortest-path expert with action noise 0.5 that is given a
new goal whenever it reaches one; `play` for cube, the wheel's open-loop pick-and-place planner with its own noise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import ogbench  # noqa: F401  registers the environments

CUBE_CENTRE, CUBE_SCALE = np.array([0.425, 0.0, 0.0]), 10.0  # as OGBench's own observation scales positions


@dataclass(frozen=True)
class Demos:
    """Demonstrations end to end: rows of states and actions, the chunk [horizon, action_dim] that each row began, and
    `ends`, the row after each demonstration's last, which reached its goal."""

    states: np.ndarray
    actions: np.ndarray
    chunks: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class World:
    """What is learned where: `train` makes demonstrations, `env` is fine-tuned on, over its five published tasks."""

    env: str
    limit: int  # steps an episode, as OGBench registers it
    horizon: int  # rows a chunk
    execution: int  # rows of it that run
    state: Callable[[gymnasium.Env], np.ndarray]
    collect: Callable[[int, int], "Trajectory"]  # (rows, seed)
    base: dict[str, Any] = field(default_factory=dict)  # of BaseConfig
    actor: dict[str, Any] = field(default_factory=dict)  # of ActorConfig
    sac: dict[str, Any] = field(default_factory=dict)  # of SacConfig

    def demos(self, rows: int, seed: int) -> Demos:
        """About `rows` rows of successful demonstrations."""
        return self.collect(rows, seed).cut(self.horizon)


class Trajectory:
    """A stream of rows, in which `leg` counts the goals: rows of one leg are one demonstration if it succeeded."""

    def __init__(self):
        self.states, self.actions, self.legs, self.done, self.breaks = [], [], [], [], []

    def add(self, state: np.ndarray, action: np.ndarray, leg: int, done: bool) -> None:
        """`done` if this row's action reached the goal of its leg."""
        for rows, value in zip((self.states, self.actions, self.legs, self.done), (state, action, leg, done), strict=True):
            rows.append(value)

    def cut(self, horizon: int) -> Demos:
        """Demonstrations up to their first success; chunks run on into what was done next."""
        actions, legs, done = np.float32(self.actions), np.array(self.legs), np.array(self.done)
        last = len(actions) - 1
        keep, ends = [], []
        for leg in np.unique(legs):
            rows = np.flatnonzero(legs == leg)
            hits = np.flatnonzero(done[rows])
            if len(hits) and rows[hits[0]] + horizon <= last:
                keep.append(rows[: hits[0] + 1])
                ends.append(hits[0] + 1)
        rows = np.concatenate(keep)
        chunks = actions[rows[:, None] + np.arange(horizon)]
        return Demos(np.float32(self.states)[rows], actions[rows], chunks, np.cumsum(ends))


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


def navigate(maze: str) -> Callable[[int, int], Trajectory]:
    """Demonstrations of a shortest-path expert in `maze`, episodes of 1000 steps as OGBench's `navigate`."""

    def collect(rows: int, seed: int) -> Trajectory:
        np.random.seed(seed)
        env, rng, trajectory, leg = make(maze, terminate_at_goal=False), np.random.default_rng(seed), Trajectory(), 0
        free = env.maze_map == 0
        cells = list(zip(*np.nonzero(free), strict=True))
        vertices = [cell for cell in cells if not _hallway(free, *cell)]
        while len(trajectory.states) < rows:
            start, goal = rng.choice(cells), rng.choice(vertices)
            env.reset(seed=seed + leg, options={"task_info": {"init_ij": start, "goal_ij": goal}})
            distance = None
            for _ in range(1000):
                if distance is None:
                    distance = env.get_oracle_subgoal(env.get_xy(), env.cur_goal_xy)[1]
                state, here = maze_state(env), env.xy_to_ij(env.get_xy())
                around = [(here[0] + di, here[1] + dj) for di, dj in ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1))]
                aim = min((cell for cell in around if distance[cell] >= 0), key=distance.__getitem__)
                way = np.subtract(env.ij_to_xy(aim), env.get_xy())
                action = np.clip(way / (np.linalg.norm(way) + 1e-6) + rng.normal(0, 0.5, 2), -1, 1)
                success = bool(env.step(action)[4]["success"])
                trajectory.add(state, action, leg, success)
                if success:
                    env.set_goal(goal_ij=rng.choice(vertices))
                    leg, distance = leg + 1, None
            leg += 1
        return trajectory

    return collect


def _hallway(free: np.ndarray, i: int, j: int) -> bool:
    """Whether cell (i, j) only leads straight on; OGBench puts no goals there."""
    up, down, left, right = free[i - 1, j], free[i + 1, j], free[i, j - 1], free[i, j + 1]
    return (up and down and not left and not right) or (left and right and not up and not down)


def cube_state(env: gymnasium.Env) -> np.ndarray:
    """OGBench's 28 numbers, then the goal position scaled as the cube's is."""
    goal = env.data.mocap_pos[env._cube_target_mocap_ids[0]]
    return np.float32([*env.compute_observation(), *(goal - CUBE_CENTRE) * CUBE_SCALE])


def play(name: str, far_m: float) -> Callable[[int, int], Trajectory]:
    """Demonstrations of OGBench's `play` planner, with cubes and targets no further from the arm than x = `far_m`."""

    def collect(rows: int, seed: int) -> Trajectory:
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

        np.random.seed(seed)
        env, trajectory, leg = make(name, terminate_at_goal=False, mode="data_collection"), Trajectory(), 0
        for bounds in (env._object_sampling_bounds, env._target_sampling_bounds):
            bounds[1, 0] = far_m
        oracle = CubePlanOracle(env=env)
        while len(trajectory.states) < rows:
            _, info = env.reset(seed=seed + leg)
            oracle.reset(None, info)
            for _ in range(1000):
                action, state = np.clip(oracle.select_action(None, info), -1, 1), cube_state(env)
                _, _, _, _, info = env.step(action)
                trajectory.add(state, action, leg, bool(info["success"]))
                if oracle.done:
                    leg += 1
                    _, info = env.set_new_target(p_stack=0.0)
                    oracle.reset(None, info)
            leg += 1
        return trajectory

    return collect
