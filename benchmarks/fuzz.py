"""Anything may be asked of the supervisor; a fake FR3 measures at 1 kHz what it makes of that.

    python benchmarks/fuzz.py [--quick] [--commands 1000000] [--processes N] [--seed 0] [--kept FILE]

A command is a tick of the command stream outside resets: fuzzed input in, CommandWindow out. Three profiles take turns:
  sim     lockstep at 20 Hz, default limits, chunks
  teleop  the same, with a fuzzed teleoperation device
  robot   config/real.yaml: 50 Hz, cautious limits. Chunks come 0 to 150 ms late, twice or never, windows 0 to 12 ms
          late, and the supervisor misses ticks
Each shard depends on (seed, shard) alone, and with --kept a run that was stopped goes on where it was. The last line is
{"commands", "excess", "workspace_mm", "reflexes"}: `excess` is the worst of measured / limit - 1 over all speeds,
accelerations and jerks, and `reflexes` counts the violations that would stop an FR3 to which these positions were
streamed (tests/faults/fake_arm.py).
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tmrl_ros import kinematics
from tmrl_ros.config import SupervisorConfig, validate
from tmrl_ros.errors import ActionError
from tmrl_ros.parameters import merged, read_parameters
from tmrl_ros.session import graph
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import ActionChunk, DecisionRequest, Mode, ResetRequest, TaskState, TeleopCommand

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

from fake_arm import ON_TORQUE, REFLEXES, FakeArm  # noqa: E402
from fuzzed import BAD_CHUNK, Fuzz, chunk_for  # noqa: E402

PROFILES = ("sim", "robot", "teleop")
ALL, QUICK, SHARD, QUICK_SHARD = 1_000_000, 13_500, 10_000, 1_500  # commands
LATE_S, SILENT_S = 0.15, 0.18  # a chunk comes up to so late; silence is reported after so long
DUPLICATE, NEVER, SPIKE, STALL = 0.1, 0.005, 0.0003, 0.003  # probabilities of a chunk, chunk, tick, tick


def configuration(profile: str) -> SupervisorConfig:
    """Short resets and long episodes: most ticks are fuzzed ones."""
    values = {
        "mode": "collect" if profile == "teleop" else "evaluate",
        "episodes": 10**9, "reset_failures": 10**9, "auto_resume_s": 0.2, "placing": "nobody",
        "task": {"reset_s": 0.5, "episode_s": 12.0},
    }  # fmt: skip
    if profile == "robot":
        file = read_parameters(ROOT / "config" / "real.yaml", graph.SECTIONS)
        values = merged(file["supervisor"], values)
    return validate(SupervisorConfig, values)


@dataclass
class Tally:
    """What the fake arms saw; excess by (profile, quantity, owner), reflexes by (profile, name)."""

    commands: int = 0
    windows: int = 0
    chunks: int = 0
    refused: int = 0
    holds: int = 0
    workspace_mm: float = 0.0
    excess: dict = field(default_factory=dict)
    reflexes: Counter = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        for name in ("commands", "windows", "chunks", "refused", "holds", "reflexes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.workspace_mm = max(self.workspace_mm, other.workspace_mm)
        keep_worst(self.excess, other.excess)

    def to_json(self) -> dict:
        listed = {name: [[*key, v] for key, v in getattr(self, name).items()] for name in ("excess", "reflexes")}
        return {**vars(self), **listed}

    @classmethod
    def from_json(cls, values: dict) -> "Tally":
        read = {name: {tuple(key): v for *key, v in values[name]} for name in ("excess", "reflexes")}
        return cls(**{**values, "excess": read["excess"], "reflexes": Counter(read["reflexes"])})


def keep_worst(worst: dict, more: dict) -> None:
    for key, value in more.items():
        worst[key] = max(worst.get(key, -1.0), value)


class Session:
    """A core and a fake arm, tick by tick."""

    def __init__(self, profile: str, rng: np.random.Generator):
        self.profile, self.rng, self.config = profile, rng, configuration(profile)
        self.core, self.fuzz, self.tally = SupervisorCore(self.config), Fuzz(rng), Tally()
        self.arm = FakeArm(self.config.limits, latches=False)
        self.waits, self.tick_ms = self.config.timing.waits, 1000 // self.config.timing.command_hz
        self.late: list[tuple[int, ActionChunk]] = []  # (due ns, chunk)
        self.asked_ns, self.episode = None, 0
        self.fuzz.begin(score=0.0)
        self.core.start()

    def run(self, commands: int) -> Tally:
        while self.tally.commands < commands:
            self.tick()
        self._score_episode()
        tally, self.tally.holds, self.tally.workspace_mm = self.tally, self.core.holds, self.arm.workspace_mm
        tally.reflexes = Counter({(self.profile, name): n for name, n in self.arm.reflexes.items()})
        return tally

    def tick(self) -> None:
        robot = self.arm.state(force_n=(0, 0, 60.0 if self.rng.random() < SPIKE else 0.0))
        task = TaskState(robot.stamp_ns, False, np.zeros((1, 3)))
        teleop = self._teleop(robot.stamp_ns) if self.profile == "teleop" else None
        need = self.core.tick(robot, task, teleop)
        if self.core.runner.next_episode != self.episode:
            self.episode = self.core.runner.next_episode
            self._score_episode()
        if isinstance(need, ResetRequest):
            self.core.objects_reset(True)
        elif isinstance(need, DecisionRequest):
            self._decide(need)
        self._deliver()
        window, _ = self.core.command()
        self.core.drain()
        self.tally.commands += self.core.arbiter.mode != Mode.RESET
        self.tally.windows += 1
        self.move(window)

    def _score_episode(self) -> None:
        """How close the episode came to a limit of ours is its score; what is varied further is decided by that."""
        excess, self.arm.excess = self.arm.excess, {}
        moved = [v for (what, owner), v in excess.items() if owner == "ours" and "position" not in what]
        self.fuzz.begin(score=sum(moved))
        keep_worst(self.tally.excess, {(self.profile, *key): value for key, value in excess.items()})

    def move(self, window) -> np.ndarray:
        """One tick of the arm, or more; returns its TCP path at 1 kHz [n, 3].

        In lockstep a window is there at once; on a robot it comes late, and now and then the next ones are missing.
        """
        late_ms = 0 if self.waits else int(self.rng.integers(0, 13))
        stall = not self.waits and self.rng.random() < STALL
        before = self.arm.run(late_ms)
        self.arm.send(window)
        after = self.arm.run(self.tick_ms * (1 + int(self.rng.integers(1, 12)) * stall) - late_ms)
        return np.concatenate([before, after])

    def _rows(self, count: int) -> np.ndarray:
        """The next rows of the fuzz [count, 4], which knows where the arm is and how it moves."""
        velocity = kinematics.jacobian(self.arm.q)[:3] @ self.arm.dq
        return np.array([self.fuzz.next_row(self.arm.tcp_m, velocity, self.config.limits) for _ in range(count)])

    def _decide(self, request: DecisionRequest) -> None:
        timing = self.config.timing
        rows = np.zeros((timing.action_horizon, 4))
        rows[: timing.execution_horizon] = self._rows(timing.execution_horizon)
        chunk, self.asked_ns = chunk_for(request, rows, self.rng), request.stamp_ns
        if self.waits:
            self.late.append((request.stamp_ns, chunk))
        elif self.rng.random() >= NEVER:
            self.late.append((request.stamp_ns + int(self.rng.uniform(0, LATE_S) * 1e9), chunk))
        if self.rng.random() < DUPLICATE:
            self.late.append((request.stamp_ns + int(self.rng.uniform(0, 1) * 1e9), chunk))

    def _deliver(self) -> None:
        now_ns = self.arm.stamp_ns
        due = [chunk for due_ns, chunk in self.late if due_ns <= now_ns]
        self.late = [(due_ns, chunk) for due_ns, chunk in self.late if due_ns > now_ns]
        for chunk in due:
            try:
                self.core.offer(chunk)
                self.tally.chunks += 1
            except ActionError:
                self.tally.refused += 1
        if not self.waits and self.core.awaits_chunk and now_ns - self.asked_ns > SILENT_S * 1e9:
            self.core.silence("policy")

    def _teleop(self, stamp_ns: int) -> TeleopCommand | None:
        """A device's wish; now and then none, or one that must not run. Looked at every 100 ms of an episode."""
        if stamp_ns % 100_000_000 or self.rng.random() < BAD_CHUNK / 10:
            return None
        velocity = self._rows(1)[0, :3]
        if self.rng.random() < BAD_CHUNK / 10:
            velocity[self.rng.integers(3)] = self.rng.choice([np.nan, np.inf])
        return TeleopCommand(stamp_ns, velocity, bool(self.rng.random() < 0.5), clutch=bool(self.rng.random() < 0.95))


def run_shard(job: tuple[int, int, int]) -> Tally:
    seed, shard, commands = job
    return Session(PROFILES[shard % len(PROFILES)], np.random.default_rng([seed, shard])).run(commands)


def numbered(job: tuple[int, int, int]) -> tuple[int, Tally]:
    return job[1], run_shard(job)


class Kept:
    """Finished shards as lines of a file, of one seed and one state of the code; without a file nothing is kept."""

    def __init__(self, file: Path | None, seed: int, commands: int):
        head = {"seed": seed, "shard": commands, "code": code_digest()}
        self._file, self.tallies = file, {}
        if file is None:
            return
        if not file.exists():
            return self._append(head)
        whole, _, torn = file.read_text().rpartition("\n")
        if torn:  # a kill came while it was written
            file.write_text(whole + "\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines[0] != head:
            raise SystemExit(f"{file} was made with {lines[0]}, not {head}; name another file")
        self.tallies = {line["shard"]: Tally.from_json(line["tally"]) for line in lines[1:]}

    def add(self, shard: int, tally: Tally) -> None:
        if self._file:
            self._append({"shard": shard, "tally": tally.to_json()})

    def _append(self, values: dict) -> None:
        with self._file.open("a") as lines:
            lines.write(json.dumps(values) + "\n")


def code_digest() -> str:
    """Of what decides a tally."""
    package, tests = ROOT / "tmrl_ros", ROOT / "tests" / "faults"
    files = [*package.glob("*.py"), *package.glob("supervisor/*.py"), *package.glob("robot/*.py"), Path(__file__)]
    digest = hashlib.sha256()
    for file in sorted([*files, tests / "fuzzed.py", tests / "fake_arm.py", ROOT / "config" / "real.yaml"]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def table(total: Tally) -> str:
    """Excess by limit: 0 is at the limit, -0.3 is 30 % below it."""
    rows = sorted({key[1:] for key in total.excess}, key=lambda key: (key[1] != "ours", *key))
    lines = ["| limit | whose | " + " | ".join(PROFILES) + " |", "|---|---|" + "---:|" * len(PROFILES)]
    for quantity, owner in rows:
        cells = [f"{total.excess.get((profile, quantity, owner), float('nan')):+.3g}" for profile in PROFILES]
        lines.append(f"| {quantity} | {owner} | {' | '.join(cells)} |")
    for name in sorted({*REFLEXES.values()}):
        counts = [str(total.reflexes[profile, name]) for profile in PROFILES]
        if any(count != "0" for count in counts):
            lines.append(f"| {name} | reflexes | {' | '.join(counts)} |")
    return "\n".join(lines)


def summary(total: Tally) -> dict:
    moving = [value for (_, quantity, _), value in total.excess.items() if "position" not in quantity]
    return {
        "commands": total.commands, "excess": float(f"{max(moving):.3g}"),
        "workspace_mm": round(total.workspace_mm, 4), "reflexes": sum(total.reflexes.values()),
    }  # fmt: skip


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} commands: within a minute")
    parser.add_argument("--commands", type=int, help=f"default {ALL}")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, help="finished shards; a run that was stopped goes on from them")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    commands, shard = options.commands or (QUICK if options.quick else ALL), QUICK_SHARD if options.quick else SHARD
    kept, shards = Kept(options.kept, options.seed, shard), range(-(-commands // shard))
    jobs = [(options.seed, i, shard) for i in shards if i not in kept.tallies]
    total, began_s = Tally(), time.perf_counter()
    for tally in (kept.tallies[i] for i in shards if i in kept.tallies):
        total.add(tally)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for done, (number, tally) in enumerate(pool.imap_unordered(numbered, jobs), 1):
            kept.add(number, tally)
            total.add(tally)
            print(f"{done} of {len(jobs)} shards, {time.perf_counter() - began_s:.0f} s", file=sys.stderr)
    torque = sum(n for (_, name), n in total.reflexes.items() if name in ON_TORQUE)
    print(f"{total.windows} windows, {total.chunks} chunks ran, {total.refused} refused, {total.holds} holds")
    print(table(total))
    print(f"Reflexes left when driven by torque (joint_trajectory_controller on the effort interface): {torque}")
    print(json.dumps(summary(total)))


if __name__ == "__main__":
    main()
