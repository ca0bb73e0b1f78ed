"""Faults injected into a running session of real processes: does the arm stop, how soon, and does it say why?

    python benchmarks/faults.py [--quick] [--only 1 19] [--injections 20] [--minutes M] [--loaded [COMMAND]] [--anew]

Numbers are those of the design's list of faults; 100 more: the same of a camera. Perception, policy, supervisor and a
simulated arm paced by the wall clock run as processes at 50 Hz; a proxy spoils what passes between them
(tests/faults/rig.py); beside them a robot that says its state, or cameras, or a learner. Time to hold runs from the
first spoilt message, or from the silence, to when another process hears the supervisor say HOLD or FAULT. Safe: the arm
stands within a second of that, or of the end of its last window, and no joint was ever faster than its limit. Where
a session has to go on, a hold is safe and not right. Of a killed supervisor nobody says HOLD: its time runs to
the end of the last window that was heard, its last point counted from when it was heard, which is late by as long as
the window was on its way; the simulated arm, a spring, settles after that. --loaded keeps every core busy beside it,
with empty loops or with a command that does so (`"python benchmarks/fuzz.py --kept FILE"`); if that ends, this does.
Start it as a session would be started there, `nice -n -10 python benchmarks/faults.py --loaded`: the load gets 0.

Injections are made in parts: each has a seed, 0 .. N - 1, its outcome goes to results/faults.json at once, and what is
there already is not made again unless --anew says so. results/faults.md is rebuilt after every fault; --quick writes
nothing. An injection that raises counts as neither safe nor right, and the next one gets a fresh session.

The last line is {"injected", "safe", "right_reason", "hold_p99_bad_ms", "hold_p99_silence_ms"}, of all that is kept of
this condition: a bad message has to hold within 10 ms, silence within 150 ms.
"""

import argparse
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

import cell  # noqa: E402
import incidents as happens  # noqa: E402
import spoilt  # noqa: E402
from fault_outcomes import Kept, revision, row, summary  # noqa: E402
from rig import Rig, Running, passes  # noqa: E402
from spoilt import ARM, kill, silence, spoil, spoil_all  # noqa: E402

from tmrl_ros.nodes import topics  # noqa: E402

RESULTS = Path(__file__).parent / "results"
STAND_S, WAIT_S = 1.0, 5.0
STARTS = 3  # of a session that fails to start, before its faults are left to another run


@dataclass(frozen=True)
class Fault:
    """What is done, and what has to come of it."""

    number: int
    says: str
    inject: Callable[[Rig, int], None]  # (rig, injection)
    reason: str  # of the hold, or of the refusal in the supervisor's log; a pattern
    # bad: a message; counted: the fifth of a kind; silence; aged: of what is seen, and only its age tells;
    # told: by who saw it; refused: nothing has to hold; stands: nobody holds; goes_on: the injection itself
    # says what came of it, in rig.judged; starts: a configuration
    kind: str
    limit_ms: float
    from_s: float = 0.0  # after the onset: from when it can be told
    heal: Callable[[Rig], None] = lambda rig: None
    stays: bool = False  # held for another second, though what was wrong is over, and a resume is refused
    where: str = "session"  # of RIGS


SILENT_POLICY = "policy is silent|action_chunk is silent|newest observation is"
FAULTS = [
    Fault(
        1, "policy killed", kill(signal.SIGKILL, "policy"), SILENT_POLICY, "silence", 150, heal=spoilt.revive("policy")
    ),
    Fault(
        2, "policy hangs", kill(signal.SIGSTOP, "policy"), SILENT_POLICY, "silence", 150,
        heal=lambda rig: rig.signal("policy", signal.SIGCONT),
    ),
    Fault(
        3, "supervisor killed", kill(signal.SIGKILL, "supervisor"), "", "stands", 150, heal=spoilt.revive("supervisor")
    ),
    Fault(6, "objects' source killed", silence(topics.OBJECTS.name), "newest observation is", "aged", 250),
    Fault(
        8, "stale object stamps", spoil_all(spoilt.shift_stamp(-1), topics.OBJECTS.name), "newest observation",
        "aged", 250,
    ),
    Fault(11, "joint states silent", silence(ARM), "joint_states is silent", "silence", 150),
    Fault(13, "network lost", silence(), "is silent", "silence", 150),
    Fault(14, "chunk 300 ms late", spoilt.delayed(0.3), "action_chunk is silent", "silence", 170),
    Fault(15, "duplicate chunk", spoilt.again, "none is awaited|already answered", "refused", 10),
    Fault(16, "chunks out of order", spoilt.out_of_order, "already answered or is old", "refused", 10),
    Fault(17, "clock jumps 10 s", spoil_all(spoilt.jump, ARM), "jumped", "bad", 150),
    Fault(
        18, "chunk 200 ms in the future", spoil(spoilt.shift_stamp(0.2), also_good=True), "in the future", "refused", 10
    ),
    Fault(19, "NaN or infinite action", spoil(spoilt.actions(spoilt.not_finite)), "holds (nan|-?inf)", "bad", 10),
    Fault(20, "huge actions", spoil(spoilt.actions(lambda r, k: r * 0 + 1e6)), "in a row beyond", "counted", 100, 0.4),
    Fault(21, "chunk one row short", spoil(spoilt.actions(lambda r, k: r[:-4])), "shape|rows", "bad", 10),
    Fault(22, "chunk of an old observation", spoil(spoilt.shift_stamp(-0.5), also_good=True), "s old", "refused", 10),
    Fault(23, "chunk of another episode", spoil(spoilt.next_episode, also_good=True), "of episode", "refused", 10),
    Fault(27, "force of 60 N", spoil_all(spoilt.push, topics.WRENCH.name), "external force", "bad", 20),
    Fault(28, "hand stuck", happens.freeze_hand, "the hand is stuck", "counted", 4000),
    Fault(31, "emergency stop", happens.press, "emergency stop is pressed", "bad", 50, heal=happens.release),
    Fault(
        40, "second publisher of commands", happens.second_publisher, "another node publishes", "silence", 150,
        heal=lambda rig: rig.destroy_publisher(rig.rogue),
    ),
    Fault(26, "TCP measured outside the box", happens.breach, "measured outside the workspace", "bad", 10),
    Fault(
        29, "Franka reflex", happens.reflex("cartesian_reflex"), r"in a reflex \(cartesian reflex\)", "told", 100,
        heal=happens.recover, stays=True,
    ),
    Fault(
        30, "control link gone for 20 ms", happens.reflex("communication_constraints_violation", gap=True),
        "communication constraints violation", "told", 50, heal=happens.recover, stays=True,
    ),
    Fault(32, "two operators", happens.two_operators, "", "goes_on", 100, where="attended"),
    Fault(33, "teleop device lost", happens.device_lost, "teleoperation device is silent", "silence", 150),
    Fault(34, "operator lost", happens.operator_lost, "operator 'rig' is silent", "told", 2000, where="attended"),
    Fault(4, "learner killed", happens.learner_killed, "", "goes_on", 30000, where="learner"),
    Fault(5, "learner hangs", happens.learner_hangs, "", "goes_on", 5000, where="learner"),
    Fault(7, "frozen image", happens.frozen, "one and the same", "told", 300, where="cameras"),
    Fault(
        9, "empty depth", spoil_all(happens.nothing_seen, cell.DEPTH.name), "pixels see something|images are",
        "told", 200, where="cameras",
    ),
    Fault(10, "30 % of frames dropped", happens.drop_some, "", "goes_on", 200, where="cameras"),
    Fault(
        12, "calibration changed", spoil_all(happens.other_lens, cell.INFO.name), "calibration .* is not", "told", 200,
        where="cameras",
    ),
    Fault(
        106, "camera killed", silence(*(topic.name for topic in (cell.INFO, cell.COLOR, cell.DEPTH))),
        "no usable frame|newest observation|nothing fitted", "aged", 250, where="cameras",
    ),
    Fault(
        108, "stale stamps of a camera", spoil_all(spoilt.shift_stamp(-1), cell.DEPTH.name), "image is .* s old",
        "told", 200, where="cameras",
    ),
    Fault(
        118, "stamps of a camera in the future", spoil_all(spoilt.shift_stamp(0.2), cell.DEPTH.name), "in the future",
        "told", 200, where="cameras",
    ),
    Fault(
        121, "wrong encoding of a camera", spoil_all(happens.other_encoding, cell.DEPTH.name), "encoding is|images are",
        "told", 200, where="cameras",
    ),
    Fault(
        24, "driven at a joint's end", happens.to_a_joints_end, "", "goes_on", 0, heal=happens.home, where="wide"
    ),
    Fault(
        25, "driven at a singularity", happens.to_a_singularity, "", "goes_on", 0, heal=happens.home, where="wide"
    ),
]  # fmt: skip
START = Fault(46, "unsafe configuration", lambda rig, injection: None, "", "starts", 0)
WIDE = {"workspace_min_m": [0.0, -0.8, -0.2], "workspace_max_m": [1.0, 0.8, 1.0]}
RIGS = {
    "session": {"robot": True}, "cameras": {"camera": True}, "wide": {"limits": WIDE}, "learner": {"learner": True},
    "attended": {"attended": True},
}  # fmt: skip
UNSAFE = [  # 46: a key of the supervisor and a value that must not start
    *[("limits.tcp_speed_m_s", value) for value in (0.0, -1.0, 1.5, 100.0)],
    *[("limits.tcp_acceleration_m_s2", value) for value in (0.0, 10.0)],
    *[("limits.joint_speed_share", value) for value in (0.0, 1.01)],
    *[("limits.force_hold_n", value) for value in (-5.0, 101.0, "none")],
    *[("limits.command_timeout_s", value) for value in (0.0, 5.0)],
    *[("timing.command_hz", value) for value in (0, 5, 1000, 45)],
    *[("limits.step_m", 0.5), ("limits.no_such_limit", 1.0), ("limits.observation_age_s", 3.0)],
]


# ---- one injection ----


def injected(rig: Rig, fault: Fault, injection: int) -> dict:
    """Inject, see what comes of it, heal, resume: {"safe", "right", "ms", "note"}, ms None where nothing has to hold.

    The note says what there was instead, where it was not as wanted.
    """
    rig.spin(float(np.random.default_rng([fault.number, injection]).uniform(0.2, 1.0)))
    rig.resume()
    rig.arm()
    fault.inject(rig, injection)
    rig.until(lambda: _begun(rig))
    came_of_it = {"refused": _refused, "goes_on": _went_on, "stands": _stood}.get(fault.kind, _held)
    outcome = came_of_it(rig, fault)
    said = outcome.pop("said", "") or (rig.status.reason if rig.status else "")
    fine = outcome["safe"] and outcome["right"]
    fastest = ", ".join(f"{speed:.2f}" for speed in rig.fastest)
    outcome["note"] = "" if fine else f"{said!r}, the joints at most {fastest} rad/s"
    rig.rules = dict.fromkeys(rig.rules, passes)
    fault.heal(rig)
    if fault.kind == "stands":
        rig.status = None
        rig.resume()
    elif fault.kind not in ("refused", "goes_on") or rig.held:
        rig.resume()
    return outcome


def _refused(rig: Rig, fault: Fault) -> dict:
    rig.spin(1.0)
    said = any(re.search(fault.reason, text) for _, text in rig.logs)
    return {"safe": (rig.acting or rig.held) and rig.slow, "right": said and rig.acting, "ms": None}


def _went_on(rig: Rig, fault: Fault) -> dict:
    return dict(rig.judged)


def _stood(rig: Rig, fault: Fault) -> dict:
    """The commanded arm stands at the end of the last window; the measured one has a second more."""
    rig.until(lambda: rig.stands and time.monotonic() > rig.window_end_s, WAIT_S, strict=False)
    settled_s = rig.stood_s - rig.window_end_s if rig.stands else math.inf
    ms = 1e3 * max(0.0, rig.window_end_s - rig.onset_s)
    said = f"stood {settled_s:.2f} s after its last window"
    return {"safe": settled_s < STAND_S and rig.slow, "right": rig.stands, "ms": ms, "said": said}


def _held(rig: Rig, fault: Fault) -> dict:
    came = rig.until(lambda: rig.held_s is not None, WAIT_S, strict=False)
    reason = rig.status.reason
    rig.rules = dict.fromkeys(rig.rules, passes)  # the arm has to be seen again to be seen standing
    stands = rig.until(lambda: rig.stands, STAND_S, strict=False)
    ms = 1e3 * (rig.held_s - rig.onset_s - fault.from_s) if came else None
    if fault.stays:
        rig.spin(1.0)
        stands = stands and rig.held and bool(rig.operate("resume"))
    right = bool(came and re.search(fault.reason, reason))
    return {"safe": came and stands and rig.slow, "right": right, "ms": ms, "said": reason}


def _begun(rig: Rig) -> bool:
    """Whether the fault has begun; a hold before that, by a machine that stalls, is no part of it."""
    if rig.onset_s is None and rig.held:
        rig.resume()
    return rig.onset_s is not None


def refuses_to_start(injection: int) -> dict:
    """46: with status 2 and a sentence that names the key."""
    key, value = UNSAFE[injection]
    command = [sys.executable, "-m", "tmrl_ros.nodes", "supervisor", "--ros-args", "-p", f"{key}:={value}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    named = key.split(".")[-1] in done.stderr and "Traceback" not in done.stderr
    note = "" if named and done.returncode == 2 else f"{key} = {value}: {done.stderr[-300:]!r}"
    return {"safe": done.returncode == 2, "right": named, "ms": None, "note": note}


# ---- all of them ----


@dataclass
class Campaign:
    """Injections under one condition until none is missing, or no `more` are wanted."""

    kept: Kept
    condition: str
    count: int  # of each fault
    anew: bool = False
    more: Callable[[], bool] = lambda: True
    revision: str = field(default_factory=revision)

    def todo(self, faults: list[Fault]) -> list[tuple[Fault, int]]:
        def seeds(fault: Fault):
            count = len(UNSAFE) if fault is START else self.count
            return range(count) if self.anew else self.kept.missing(self.condition, fault.number, count)

        return [(fault, seed) for fault in faults for seed in seeds(fault)]

    def in_sessions(self, rig_options: dict, faults: list[Fault]) -> None:
        """All in one session, or in another after each injection that raised."""
        todo, starts = self.todo(faults), STARTS
        while todo and starts and self.more():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
                try:
                    rig = stack.enter_context(Running(Path(folder), **rig_options))
                except Exception as error:
                    starts -= 1
                    print(f"  no session with {rig_options}: {_said(error)}", file=sys.stderr, flush=True)
                else:
                    self._in_session(rig, todo)

    def _in_session(self, rig: Rig, todo: list[tuple[Fault, int]]) -> None:
        """Until nothing is left to do, or one raised: what state the session is in then, nobody knows."""
        raised = False
        while todo and not raised and self.more():
            fault, seed = todo.pop(0)
            try:
                outcome = injected(rig, fault, seed)
            except Exception as error:
                raised, outcome = True, {"safe": False, "right": False, "ms": None, "note": _said(error)}
            self._keep(fault, seed, outcome, last=not todo or todo[0][0] is not fault)

    def unsafe_configurations(self) -> None:
        todo = self.todo([START])
        while todo and self.more():
            _, seed = todo.pop(0)
            self._keep(START, seed, refuses_to_start(seed), last=not todo)

    def _keep(self, fault: Fault, seed: int, outcome: dict, last: bool) -> None:
        if outcome["note"]:
            print(f"  {fault.number}, seed {seed}: {outcome}", file=sys.stderr, flush=True)
        ms = outcome["ms"] if outcome["ms"] is None else round(outcome["ms"], 1)
        circumstances = {"revision": self.revision, "load": round(os.getloadavg()[0], 1)}
        self.kept.add(self.condition, fault.number, {"seed": seed, **outcome, "ms": ms, **circumstances})
        if last:
            self.kept.report(ALL)
            print(row(fault, self.kept.outcomes(self.condition)[fault.number]), file=sys.stderr, flush=True)


ALL = sorted([*FAULTS, START], key=lambda fault: fault.number)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each fault once, about a minute; writes nothing")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of faults")
    parser.add_argument("--injections", type=int, default=20, help="of each fault, those of earlier runs among them")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of wall time, after which none is begun")
    busy = "keep every core busy beside it, with empty loops or this command"
    parser.add_argument("--loaded", nargs="?", const="", metavar="COMMAND", help=busy)
    parser.add_argument("--anew", action="store_true", help="also those that are kept, in their place")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of faults.json and faults.md")
    options = parser.parse_args()
    end_s = time.monotonic() + 60 * options.minutes
    kept = Kept(None if options.quick else options.results)
    condition = "idle" if options.loaded is None else "loaded"
    count = 1 if options.quick else options.injections
    chosen = [fault for fault in ALL if not options.only or fault.number in options.only]
    running = [fault for fault in chosen if fault is not START]
    with load(options.loaded) as lasts:
        campaign = Campaign(kept, condition, count, options.anew, lambda: time.monotonic() < end_s and lasts())
        for where, rig_options in RIGS.items():
            campaign.in_sessions(rig_options, [fault for fault in running if fault.where == where])
        if START in chosen:
            campaign.unsafe_configurations()
    print(kept.report(ALL))
    print(json.dumps(summary(kept.outcomes(condition), {fault.number: fault.kind for fault in ALL})))


@contextmanager
def load(command: str | None) -> Iterator[Callable[[], bool]]:
    """Processes that keep the cores busy: none, empty loops ("") or a command's; whether all of them still run."""
    loops = [[sys.executable, "-c", "while True: pass"]] * os.cpu_count()
    commands = [] if command is None else [shlex.split(command)] if command else loops
    niceness = str(max(0, -os.nice(0)))  # as other programs have it, whatever the nodes were started with
    running = [subprocess.Popen(["nice", "-n", niceness, *words], start_new_session=True) for words in commands]
    try:
        yield lambda: all(process.poll() is None for process in running)
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()
