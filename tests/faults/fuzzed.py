"""Fuzzed input for the supervisor: action rows of many kinds, and chunks that must not run."""

from dataclasses import replace

import numpy as np

from tmrl_ros.config import SafetyLimits
from tmrl_ros.types import ActionChunk, DecisionRequest, Modulation

KINDS = ("random", "steps", "chirp", "reversals", "corners", "against", "evolved", "evolved", "huge")
BAD_CHUNK = 0.02  # probability
MODULATION = Modulation(np.zeros(4, np.float32))


class Fuzz:
    """Rows [4] without end, of a kind that is drawn for each episode."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.script = rng, []
        self.elite: list[tuple[float, np.ndarray]] = []  # (score, rows [n, 3]), the best first

    def begin(self, score: float) -> None:
        """A new episode. The last one had this score; the best eight are what "evolved" varies."""
        if len(self.script) > 5:
            self.elite = sorted([*self.elite, (score, np.array(self.script))], key=lambda entry: -entry[0])[:8]
        rng = self.rng
        self.kind = str(rng.choice(KINDS))
        self.axis, self.scale, self.period = self._unit(), float(rng.choice([0.3, 1.0, 3.0])), rng.uniform(2, 20)
        self.corner, self.left, self.row = rng.integers(0, 2, 3), 0, np.zeros(3)
        self.parent = self.elite[rng.integers(len(self.elite))][1] if self.elite else np.zeros((1, 3))
        self.count, self.script = 0, []

    def next_row(self, tcp_m, velocity, limits: SafetyLimits) -> np.ndarray:
        """Of the arm's TCP position and velocity [3], what to ask next: [dx, dy, dz, grip]."""
        row = getattr(self, f"_{self.kind}")(tcp_m, velocity, limits)
        self.count += 1
        self.script.append(row)
        if self.kind != "huge" and self.rng.random() < 0.01:
            row = row * 10.0 ** self.rng.uniform(1, 30)
        return np.array([*row, self.rng.uniform(-1, 1)])

    def _unit(self):
        direction = self.rng.normal(size=3)
        return direction / np.linalg.norm(direction)

    def _random(self, *_):
        return self.rng.normal(0, self.scale, 3)

    def _huge(self, *_):
        return self.rng.normal(size=3) * 10.0 ** self.rng.uniform(0, 30)

    def _steps(self, *_):
        self.left -= 1
        if self.left < 0:
            self.left, self.row = self.rng.integers(1, 12), self.rng.choice([-1.0, 0.0, 1.0], 3)
        return self.row

    def _chirp(self, *_):
        return self.scale * self.axis * np.sin(0.02 * self.count**2 + self.period)

    def _reversals(self, *_):
        return self.axis * (1.0 if self.count % self.period < self.period / 2 else -1.0) * 2

    def _corners(self, tcp_m, velocity, limits):
        """Into a corner of the workspace at full speed, then into another."""
        goal = np.where(self.corner, limits.workspace_max_m, limits.workspace_min_m) + self.rng.normal(0, 0.02, 3)
        if np.abs(goal - tcp_m).max() < 0.05 or self.rng.random() < 0.02:
            self.corner = self.rng.integers(0, 2, 3)
        return 3 * (goal - tcp_m) / max(np.abs(goal - tcp_m).max(), 1e-9)

    def _against(self, tcp_m, velocity, limits):
        """What the limiter has to work hardest for: now along the motion, now against it, now across."""
        speed = np.linalg.norm(velocity)
        if speed < 0.8 * limits.tcp_speed_m_s and self.rng.random() < 0.8:
            return self.axis if speed < 0.02 else velocity / speed * 2
        self.axis = self._unit()
        across = np.cross(velocity, self.axis)
        return (-velocity if self.rng.random() < 0.6 else across) / max(speed, 1e-3) * 2

    def _evolved(self, *_):
        """The episode that came closest to a limit, with some rows redrawn."""
        if self.rng.random() < 0.15:
            return self.rng.choice([-1.0, 0.0, 1.0], 3)
        return self.parent[self.count % len(self.parent)]


def chunk_for(request: DecisionRequest, rows, rng: np.random.Generator) -> ActionChunk:
    """The answer to a request; now and then one that must not run."""
    chunk = ActionChunk(
        request.stamp_ns, request.episode, request.decision, 0.1, rows.astype(np.float32), MODULATION, 1
    )
    return _spoiled(chunk, rng) if rng.random() < BAD_CHUNK else chunk


def _spoiled(chunk: ActionChunk, rng) -> ActionChunk:
    rows = chunk.actions.copy()
    rows[rng.integers(len(rows)), rng.integers(4)] = rng.choice([np.nan, np.inf, -np.inf])
    changes = (
        {"actions": rows},
        {"actions": rows[:, :3]},
        {"actions": rows[:5]},
        {"dt_s": float("nan")},
        {"modulation": replace(MODULATION, sigma=float("nan"))},
        {"stamp_ns": chunk.stamp_ns + int(rng.integers(-(10**10), 10**10))},
        {"episode": chunk.episode + int(rng.integers(1, 5))},
        {"decision": chunk.decision - int(rng.integers(1, 5))},
    )
    return replace(chunk, **changes[rng.integers(len(changes))])
