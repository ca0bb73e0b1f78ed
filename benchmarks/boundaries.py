"""Does the streamed curve step where one action chunk gives way to the next, whenever that one comes?

    python benchmarks/boundaries.py [--quick] [--boundaries 10000] [--seed 0]

Random chunks go through the SupervisorCore with the settings of config/real.yaml, each 0 to 150 ms after it was asked
for and followed for two rows, so that a boundary comes every 0.2 to 0.35 s. Every window replaces the one before; at
that moment both are evaluated: position, speed and acceleration have to agree. A fake FR3 (tests/faults/fake_arm.py)
follows at 1 kHz: from one millisecond to the next its speed may change by acceleration * 1 ms, its acceleration by the
FR3's jerk * 1 ms.

The last line is {"boundaries", "velocity_step_excess", "jerk_excess"}: the worst of measured / limit - 1; at most 0.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

from tmrl_ros.config import SupervisorConfig, validate
from tmrl_ros.parameters import merged
from tmrl_ros.robot import trajectory
from tmrl_ros.session import graph
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import ActionChunk, CommandWindow, DecisionRequest, Mode, Modulation, ResetRequest, TaskState

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

from fake_arm import JOINT_JERK, FakeArm  # noqa: E402

RESULTS = Path(__file__).parent / "results"
ALL, QUICK = 10_000, 400
JITTER_S = 0.15
ROWS = 2  # of a chunk that run
H_S = 1e-4  # over which acceleration is a difference of speeds: less than a knot apart


class Boundaries:
    """A core and a fake arm; `steps` is the worst difference of two windows in position, speed and acceleration."""

    def __init__(self, seed: int):
        values = {
            "mode": "evaluate",
            "episodes": 10**9,
            "placing": "nobody",
            "task": {"reset_s": 0.5, "episode_s": 60.0},
        }
        real = graph.section("supervisor", str(ROOT / "config" / "real.yaml")).model_dump()
        real = merged(real, {**values, "timing": {"execution_horizon": ROWS}})
        self.config = validate(SupervisorConfig, real)
        self.core, self.rng = SupervisorCore(self.config), np.random.default_rng(seed)
        self.arm = FakeArm(self.config.limits, latches=False)
        self.tick_ms = 1000 // self.config.timing.command_hz
        self.count, self.steps, self.late_s = 0, np.zeros(3), []
        self._due: tuple[int, ActionChunk] | None = None
        self._window: CommandWindow | None = None
        self.core.start()

    def run(self, count: int) -> None:
        """Until so many chunks have followed another one."""
        while self.count < count:
            self.tick()

    def tick(self) -> None:
        robot = self.arm.state()
        need = self.core.tick(robot, TaskState(robot.stamp_ns, False, np.zeros((1, 3))), None)
        if isinstance(need, DecisionRequest):
            self._ask(need)
        elif isinstance(need, ResetRequest):
            self.core.objects_reset(True)
        if self._due and self._due[0] <= robot.stamp_ns and self.core.awaits_chunk:
            self.core.offer(self._due[1])
            self.count += self._due[1].decision > 0
            self._due = None
        window, _ = self.core.command()
        self.core.drain()
        if self.core.arbiter.latched:
            raise AssertionError(f"held: {self.core.arbiter.reason}")
        if self._window and self.core.arbiter.mode == Mode.POLICY:
            self._compare(window)
        self._window = window
        self.arm.send(window)
        self.arm.run(self.tick_ms)

    def _ask(self, request: DecisionRequest) -> None:
        late_s = self.rng.uniform(0, JITTER_S)
        rows = np.zeros((self.config.timing.action_horizon, 4), np.float32)
        rows[:, :3] = self.rng.choice([0.3, 1.0, 3.0]) * self.rng.normal(size=3)  # one way, or
        rows[self.rng.integers(1, 3) :, :3] *= self.rng.choice([-1.0, 0.0, 1.0])  # back, or to a stop
        rows = rows.clip(-3, 3)
        modulation = Modulation(np.zeros(4, np.float32))
        chunk = ActionChunk(request.stamp_ns, request.episode, request.decision, 0.1, rows, modulation, 0)
        self._due = (request.stamp_ns + round(late_s * 1e9), chunk)
        self.late_s.append(late_s)

    def _compare(self, window: CommandWindow) -> None:
        """At the moment in which this window takes over from the last one."""
        seen = []
        for one in (self._window, window):
            at_s = (self.arm.stamp_ns - one.stamp_ns) * 1e-9
            q, dq = trajectory.evaluate(one, np.array([at_s, at_s + H_S]))
            seen.append((q[0], dq[0], (dq[1] - dq[0]) / H_S))
        self.steps = np.maximum(self.steps, [np.abs(a - b).max() for a, b in zip(*seen, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} boundaries: within a minute")
    parser.add_argument("--boundaries", type=int, default=ALL)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run, began_s = Boundaries(options.seed), time.process_time()
    run.run(QUICK if options.quick else options.boundaries)
    used_s, excess = time.process_time() - began_s, run.arm.excess
    shown = {
        "joint speed, from ms to ms": ("joint acceleration", "ours"),
        "joint acceleration, from ms to ms": ("joint jerk", "FR3"),
        "TCP speed, from ms to ms": ("tcp acceleration", "ours"),
        "TCP acceleration, from ms to ms": ("tcp jerk", "FR3"),
    }
    lines = ["| quantity | measured / limit - 1 |", "|---|---:|"]
    lines += [f"| {name} | {excess[key]:+.3g} |" for name, key in shown.items()]
    q, dq, ddq = run.steps
    text = "\n".join(lines) + (
        f"\n\n{run.count} boundaries, chunks {1e3 * min(run.late_s):.0f} to {1e3 * max(run.late_s):.0f} ms late. Where "
        f"a window takes over from the last one they differ by at most {q:.2g} rad, {dq:.2g} rad/s and {ddq:.2g} "
        f"rad/s^2 (a step within the jerk limit of {JOINT_JERK:g} rad/s^3 is {JOINT_JERK * 1e-3:g} rad/s^2 a ms). "
        f"{used_s:.0f} s of CPU."
    )
    print(text)
    if not options.quick:
        command = f"python benchmarks/boundaries.py --boundaries {options.boundaries} --seed {options.seed}"
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        (RESULTS / "boundaries.md").write_text(f"# Chunk boundaries\n\n`{command}`, {machine}.\n\n{text}\n")
    values = {"velocity_step_excess": excess["joint acceleration", "ours"], "jerk_excess": excess["joint jerk", "FR3"]}
    print(json.dumps({"boundaries": run.count} | {name: float(f"{value:.3g}") for name, value in values.items()}))


if __name__ == "__main__":
    main()
