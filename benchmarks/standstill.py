"""Time and way from a hold to standstill, from full TCP speed, over 1,000 states of a wandering arm in each profile.

    python benchmarks/standstill.py [--states 1000] [--seed 0]

Profiles as in fuzz.py. The arm goes to random places of the workspace at full speed; where it has at least 0.24 m/s
(planning keeps 3 % of the limit of 0.25 back) a copy of it holds and brakes. In profile sim the hold falls on a tick,
for time waits there; in profile robot anywhere between two ticks, windows arrive 0 to 12 ms late. Measured at 1 kHz.
Last line: for each profile {"states", "time_ms", "distance_mm"} with median and largest.
"""

import argparse
import copy
import json

import numpy as np
from fuzz import Session

from tmrl_ros import kinematics
from tmrl_ros.types import Mode, TaskState

FAST_M_S, STILL_M = 0.24, 1e-9  # from so fast; within so much a millisecond it stands
SHARE = 0.5  # of the ticks at that speed are tried
GOAL_S = 0.06  # a goal nearer than so long at full speed is replaced


class Wander:
    """Instead of a fuzz: full speed to random places in the workspace."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.goal_m = rng, None

    def begin(self, score: float) -> None:
        self.goal_m = None

    def next_row(self, tcp_m, velocity, limits) -> np.ndarray:
        near_m = GOAL_S * limits.tcp_speed_m_s
        if self.goal_m is None or np.linalg.norm(self.goal_m - tcp_m) < near_m or self.rng.random() < 0.02:
            self.goal_m = self.rng.uniform(limits.workspace_min_m, limits.workspace_max_m)
        way = self.goal_m - tcp_m
        return np.array([*(way / np.abs(way).max()), -1.0])


def tick(session: Session) -> np.ndarray:
    """One tick without new input; returns the TCP path [n, 3]."""
    robot = session.arm.state()
    session.core.tick(robot, TaskState(robot.stamp_ns, False, np.zeros((1, 3))), None)
    return session.move(session.core.command()[0])


def brake(session: Session, rng: np.random.Generator) -> tuple[float, float]:
    """Of a copy that holds now: ms until it stands, and mm of TCP path on the way."""
    session = copy.deepcopy(session)
    path = [session.arm.tcp_m[None]]
    hold_ms = 0 if session.waits else int(rng.integers(0, session.tick_ms))
    if hold_ms:  # the window of this tick is out already
        path.append(tick(session))
    session.core.hold("benchmark")
    while not session.arm.standing:
        path.append(tick(session))
    steps_m = np.linalg.norm(np.diff(np.concatenate(path)[hold_ms:], axis=0), axis=1)
    return float(np.flatnonzero(steps_m > STILL_M)[-1] + 1), 1e3 * float(steps_m.sum())


def measure(profile: str, states: int, seed: int) -> dict:
    rng = np.random.default_rng([seed, states])
    session = Session(profile, np.random.default_rng([seed, states, 1]))
    session.fuzz, results = Wander(session.rng), []
    while len(results) < states:
        session.tick()
        speed_m_s = np.linalg.norm(kinematics.jacobian(session.arm.q)[:3] @ session.arm.dq)
        moving = session.core.arbiter.mode == Mode.POLICY and speed_m_s >= FAST_M_S
        if moving and rng.random() < SHARE:
            results.append(brake(session, rng))
    time_ms, distance_mm = np.transpose(results)
    return {"states": states, "time_ms": _spread(time_ms, 0), "distance_mm": _spread(distance_mm, 1)}


def _spread(values, digits: int) -> dict:
    return {"median": round(float(np.median(values)), digits), "largest": round(float(values.max()), digits)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps({profile: measure(profile, options.states, options.seed) for profile in ("sim", "robot")}))


if __name__ == "__main__":
    main()
