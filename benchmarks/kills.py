"""What do SIGKILLs cost? Recorder, learner and supervisor of real sessions, killed in turn at random instants.

    python benchmarks/kills.py [--kills N] [--minutes M] [--quick] [--seed S] [--results FOLDER]

Kills may be made in parts: with --results each run is added to kills.json there, and kills.md says what all came to.

Sessions of a small policy run over ROS in simulation. The learner comes back by itself; after the death of recorder or
supervisor the session is resumed, until its robot time is up. After every kill, and at each session's end:

| counted | what |
|---|---|
| lost | decisions that a published actor version counts and that the learner no longer has |
| wrong | decisions that the learner has twice or other than the bag; learners that came back in another state |
| bags_ok | kills after which the bag opens and lacks no more than the last second of wall time |
| checkpoints_ok | kills after which a whole checkpoint loads, or none had been written yet |

The last line is {"kills", "lost", "wrong", "bags_ok", "checkpoints_ok"}; with --quick 6 kills, about a minute.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: as the nodes have it

import argparse
import json
import math
import platform
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from replay import base as small_base

from tmrl_ros.config import LearnerConfig, Timing, validate
from tmrl_ros.data import store, transition_log
from tmrl_ros.errors import DataError, TmrlError
from tmrl_ros.learner.core import Learner, recover
from tmrl_ros.nodes import replay as recorded
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import graph
from tmrl_ros.session.replay import identical
from tmrl_ros.session.starter import NodeDied, run_session
from tmrl_ros.types import SessionStatus

MINUTES = 6.0  # of robot time of each session; it takes several kills
LATEST_S = 5.0  # wall time within which a kill comes, from the first status, or from the victim's before
AT_START, STARTED_S = 0.15, 6.0  # share of kills that come while nodes start, or recover; how long that takes
LOST_S = 1.0  # of wall time that a bag may lack
PATIENCE_S = 60.0
OVERRIDES = {
    "policy": {"modulation.width": 32},
    "learner": {
        "modulation.width": 32,
        "sac": {"batch": 16, "updates_per_decision": 2, "warmup_episodes": 1},
        "checkpoint_episodes": 1,
    },
}
SHARED = {"timing.lockstep_timeout_s": PATIENCE_S, "task": {"episode_s": 6.0, "reset_s": 2.0}}
NODES = ("sim", "perception", "recorder", "policy", "learner", "supervisor")
TURNS = (("learner", "supervisor"), ("recorder",))  # the victims of one start, then of the next


@dataclass
class Outcome:
    """What the kills came to; `notes` are sentences on whatever was not as wanted."""

    kills: Counter = field(default_factory=Counter)  # victim -> kills
    lost: int = 0
    wrong: int = 0
    bags_ok: int = 0
    checkpoints_ok: int = 0
    acknowledged: int = 0  # decisions
    running: int = 0  # kills that met a session with decisions
    sessions: int = 0
    bag_lacks_s: list[float] = field(default_factory=list)  # wall time, after each death of the recorder, at most
    notes: list[str] = field(default_factory=list)

    def result(self) -> dict:
        kills = sum(self.kills.values())
        return {
            "kills": kills,
            "lost": self.lost,
            "wrong": self.wrong,
            "bags_ok": self.bags_ok / max(1, kills),
            "checkpoints_ok": self.checkpoints_ok / max(1, kills),
        }


class Killer:
    """Kills its victims at random instants after the start of a session's nodes, and notes when."""

    def __init__(self, victims: tuple[str, ...], rng: np.random.Generator):
        self.killed: list[tuple[str, float]] = []  # victim, monotonic time
        self.heard: list[tuple[float, float]] = []  # monotonic time, robot time
        self._delays_s = dict(zip(victims, np.cumsum(rng.uniform(0.02, LATEST_S, len(victims))), strict=True))
        self._at_once = rng.random() < AT_START
        self._start_delay_s = rng.uniform(0.1, STARTED_S)
        self._pids: dict[str, int] = {}
        self._timers: list[threading.Timer] = []

    def started(self, pids: dict[str, int]) -> None:
        self._pids = pids
        if self._at_once:
            self._arm(self._start_delay_s)

    def status(self, status: SessionStatus) -> None:
        self.heard.append((time.monotonic(), status.robot_time_s))
        if not self._timers:
            self._arm(0.0)

    def _arm(self, later_s: float) -> None:
        for victim, delay_s in self._delays_s.items():
            timer = threading.Timer(later_s + delay_s, self._kill, (victim, self._pids[victim]))
            self._timers.append(timer)
            timer.start()

    def _kill(self, victim: str, pid: int) -> None:
        if not _is_node(pid, victim):
            return
        self.killed.append((victim, time.monotonic()))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()


def _is_node(pid: int, name: str) -> bool:
    """Whether the process is still that node: its number may be somebody else's by now."""
    try:
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def session(folder: Path, base: Path, seed: int, more: Callable[[], bool], rng, outcome: Outcome) -> None:
    """One session to its end, or until no `more` kills are wanted, resumed whenever it was stopped."""
    outcome.sessions += 1
    turn = 0
    while more():
        resumed = any((folder / "bag").glob("*.mcap"))
        specs = _specs(folder, base, seed, resumed)
        killer = Killer(TURNS[turn % len(TURNS)], rng)
        over = _run(specs, folder, killer)
        for victim, at_s in killer.killed:
            outcome.kills[victim] += 1
            outcome.running += any(heard_s < at_s for heard_s, _ in killer.heard)
            _check_bag(folder, victim, at_s, killer, outcome)
            _check_checkpoint(folder, specs, outcome)
        _check_decisions(folder, outcome)
        print(f"{dict(outcome.kills)}: {outcome.result()}", flush=True)
        turn += 1
        if over:
            break
    if any((folder / "bag").glob("*.mcap")):
        outcome.acknowledged += max((version for version, _ in recorded.actor_updates(folder / "bag")), default=0)
        _check_learner(folder, _specs(folder, base, seed, True), outcome)


def _specs(folder: Path, base: Path, seed: int, resumed: bool) -> list[graph.NodeSpec]:
    options = graph.SessionOptions(base=str(base), run_dir=str(folder), seed=seed, minutes=MINUTES, resume=resumed)
    return graph.build("finetune", options, {name: SHARED | OVERRIDES.get(name, {}) for name in NODES})


def _run(specs: list[graph.NodeSpec], folder: Path, killer: Killer) -> bool:
    """Whether the session came to its end."""
    try:
        run_session(specs, folder, killer.status, on_started=killer.started)
    except NodeDied as death:
        if not killer.killed:
            raise TmrlError(f"a node died that nobody killed: {death}") from death
        return False
    finally:
        killer.close()
    return True


# ---- what is left after a kill --------------------------------------------------------------------------------------


def _check_bag(folder: Path, victim: str, at_s: float, killer: Killer, outcome: Outcome) -> None:
    if not (folder / "bag").is_dir():  # killed before there was a bag, and nothing had been heard
        outcome.bags_ok += not killer.heard
        return
    try:
        newest_s = max((record.robot_time_s for record in recorded.progress(folder / "bag")), default=0.0)
    except DataError as error:
        outcome.notes.append(str(error))
        return
    missing = [heard_s for heard_s, robot_time_s in killer.heard if heard_s <= at_s and robot_time_s > newest_s + 1e-6]
    lacks_s = at_s - min(missing) if missing else 0.0
    if victim == "recorder":
        outcome.bag_lacks_s.append(round(lacks_s, 3))
    if lacks_s <= LOST_S:
        outcome.bags_ok += 1
    else:
        outcome.notes.append(f"{folder}: after the death of {victim} the bag lacks {lacks_s:.2f} s")


def _check_checkpoint(folder: Path, specs: list[graph.NodeSpec], outcome: Outcome) -> None:
    checkpoints = folder / "checkpoints"
    try:
        if recover(checkpoints / transition_log.STATE):
            _learner(specs).restore(checkpoints / transition_log.STATE)
        elif (checkpoints / transition_log.ACTOR).exists():
            raise DataError(f"{checkpoints} has an actor and no learner")
        outcome.checkpoints_ok += 1
    except TmrlError as error:
        outcome.notes.append(str(error))


def _check_decisions(folder: Path, outcome: Outcome) -> None:
    """The log against the bag: every decision once, as recorded, and all that any published version counts."""
    log = folder / "checkpoints" / transition_log.LOG
    logged = list(transition_log.read(log)) if log.exists() else []
    numbers = [transition.decision for transition in logged]
    twice = len(numbers) - len(set(numbers))
    if not any((folder / "bag").glob("*.mcap")):
        return
    in_bag = {t.decision: t for t in recorded.transitions(folder / "bag", Timing())}
    version = max((version for version, _ in recorded.actor_updates(folder / "bag")), default=0)
    other = [t.decision for t in logged if t.decision in in_bag and not identical(t, in_bag[t.decision])]
    lost = sorted(set(range(version)) & set(in_bag) - set(numbers))
    outcome.lost += len(lost)
    outcome.wrong += twice + len(other)
    if lost or twice or other:
        outcome.notes.append(f"{folder}: lost {lost}, {twice} twice, other than recorded {other}")


def _check_learner(folder: Path, specs: list[graph.NodeSpec], outcome: Outcome) -> None:
    """Every state in which the learner came back, and its last replay, against one that learned the log in one go."""
    text = (folder / "logs/learner.log").read_text()
    said = {int(version): state for version, state in re.findall(r"resumed after (\d+) decisions.*state (\w+)", text)}
    last = _learner(specs)
    last.restore(folder / "checkpoints" / transition_log.STATE)
    last_state = last.digest
    again = _learner(specs)  # from here on torch's random numbers are its own
    states = {again.version: again.digest}
    for transition in transition_log.read(folder / "checkpoints" / transition_log.LOG):
        again.add(transition)
        again.learn()
        states[again.version] = again.digest
    for version in (version for version, state in said.items() if states.get(version) != state):
        outcome.wrong += 1
        outcome.notes.append(f"{folder}: the learner came back after {version} decisions in another state")
    # a learner that was killed as the session ended left the log longer than its last checkpoint
    if states.get(last.version) != last_state:
        outcome.wrong += 1
        outcome.notes.append(f"{folder}: the last checkpoint is not what its log makes of a fresh learner")


def _learner(specs: list[graph.NodeSpec]) -> Learner:
    config = validate(LearnerConfig, next(spec.parameters for spec in specs if spec.name == "learner"))
    return Learner(config, BasePolicy.load(Path(config.base)), store.read_named(config.demos))


# ---- the report -----------------------------------------------------------------------------------------------------


def _facts(outcome: Outcome, options: argparse.Namespace, wall_s: float) -> dict:
    """One run, as kills.json keeps it."""
    return {
        "seed": options.seed,
        "revision": options.revision,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, shared",
        "command": f"python benchmarks/kills.py --kills {options.kills} --seed {options.seed}",
        "result": outcome.result(),
        "kills": dict(outcome.kills),
        "kills_while_running": outcome.running,
        "sessions": outcome.sessions,
        "acknowledged_decisions": outcome.acknowledged,
        "bag_lacks_s": {
            "recorder_kills": len(outcome.bag_lacks_s),
            "median": float(np.median(outcome.bag_lacks_s)) if outcome.bag_lacks_s else None,
            "max": max(outcome.bag_lacks_s, default=None),
        },
        "wall_minutes": round(wall_s / 60, 1),
        "notes": outcome.notes,
    }


def recorded_runs(folder: Path | None) -> list[dict]:
    """Runs that kills.json in `folder` has."""
    file = folder / "kills.json" if folder else None
    return json.loads(file.read_text())["runs"] if file and file.exists() else []


def keep(folder: Path, run: dict) -> None:
    """Put `run` beside the others, in place of what it was a kill ago, and write what they come to together."""
    runs = [other for other in recorded_runs(folder) if other["seed"] != run["seed"]] + [run]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("kills.json", json.dumps({"runs": runs}, indent=1) + "\n"), ("kills.md", report(runs))):
        partial = folder / f".{name}.partial"
        partial.write_text(text)
        partial.replace(folder / name)


def report(runs: list[dict]) -> str:
    victims, total = Counter(), sum(run["result"]["kills"] for run in runs)
    for run in runs:
        victims.update(run["kills"])
    sums = {name: sum(run["result"][name] for run in runs) for name in ("lost", "wrong")}
    shares = {
        name: sum(round(run["result"][name] * run["result"]["kills"]) for run in runs)
        for name in ("bags_ok", "checkpoints_ok")
    }
    longest = max((run["bag_lacks_s"]["max"] or 0.0 for run in runs), default=0.0)
    rows = [
        (f"killed: {', '.join(victims)}", ", ".join(map(str, victims.values()))),
        ("kills that met a session with decisions", sum(run["kills_while_running"] for run in runs)),
        ("decisions that a published actor version counted", sum(run["acknowledged_decisions"] for run in runs)),
        ("of them lost", f"**{sums['lost']}**"),
        ("decisions twice or other than recorded, learners that came back in another state", f"**{sums['wrong']}**"),
        ("bags that open and lack no more than 1 s", f"**{shares['bags_ok']}**"),
        ("a whole checkpoint loads (or none had been written)", f"**{shares['checkpoints_ok']}**"),
    ]
    made = [
        f"| `{run['command']}` | {run['revision']} | {run['result']['kills']} | {run['sessions']} | "
        f"{run['wall_minutes']:.0f} |"
        for run in runs
    ]
    notes = [f"- seed {run['seed']}: {note}" for run in runs for note in run["notes"]]
    parts = [
        "# What SIGKILLs cost: recorder, learner and supervisor of real sessions",
        f"**{total} of 1,000 kills** so far, made in parts ({len(runs)} in kills.json) of sessions of {MINUTES:g} "
        "robot-minutes; they were resumed after every death of recorder or supervisor. One in seven kills comes while "
        "nodes start or recover.",
        "\n".join([f"| | of {total} kills |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]),
        f"After a recorder's death the bag lacked at most {longest:.2f} s of what had been heard of the session, seen "
        "through the status, which is looked at every 0.2 s. Each state in which a learner came back was compared by "
        "its SHA-256 (weights, optimisers, replay, random generators) with a learner that took the same log in one go. "
        "What a power cut costs was not measured.",
        "\n".join(["| run | revision | kills | sessions | minutes |", "|---|---|---|---|---|", *made]),
        "\n".join(["What was not as wanted:", "", *notes]) if notes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _revision() -> str:
    """Of the working tree; with a + where it holds more than its last commit."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of wall time, after which none is begun")
    parser.add_argument("--quick", action="store_true", help="6 kills")
    parser.add_argument("--seed", type=int, help="of a run; left out: one that was not used yet")
    parser.add_argument("--results", type=Path, help="folder with kills.json, to which the run is added")
    options = parser.parse_args()
    before = [run["seed"] for run in recorded_runs(options.results)]
    options.seed = max(before, default=-1) + 1 if options.seed is None else options.seed
    options.revision = _revision()
    if options.seed in before:
        parser.error(f"--seed {options.seed}: a run of it is in {options.results} already; leave it out for another")
    options.kills = 6 if options.quick else options.kills
    outcome, rng, start_s = Outcome(), np.random.default_rng(options.seed), time.monotonic()

    def more() -> bool:
        return sum(outcome.kills.values()) < options.kills and time.monotonic() - start_s < 60 * options.minutes

    with tempfile.TemporaryDirectory() as scratch:
        base = small_base(Path(scratch))
        while more():
            seed = options.seed + outcome.sessions
            session(Path(scratch) / f"session_{seed}", base, seed, more, rng, outcome)
            if options.results:
                keep(options.results, _facts(outcome, options, time.monotonic() - start_s))
    for note in outcome.notes:
        print(f"note: {note}")
    print(json.dumps(outcome.result()))


if __name__ == "__main__":
    main()
