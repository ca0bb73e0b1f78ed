"""Faults injected into a running session of real processes: does the arm stop, how soon, and does it say why?

    python benchmarks/faults.py [--quick] [--only 1 19] [--injections 20] [--loaded]

Numbers are those of the design's list of faults. Perception, policy, supervisor and a simulated arm paced by the wall
clock run as processes at 50 Hz; a proxy spoils what passes between them (tests/faults/rig.py); beside them a robot
that says its state, or cameras, or a learner. Time to hold runs from the first spoilt message, or from the silence, to
when another process hears the supervisor say HOLD or FAULT. Safe: the arm stands within a second of that, or of the end
of its last window, and no joint was ever faster than its limit. A fault that only has to be refused is safe if the
session goes on. --loaded keeps every core busy beside it.

The last line is {"injected", "safe", "right_reason", "hold_p99_bad_ms", "hold_p99_silence_ms"}: a bad message has to
hold within 10 ms, silence within 150 ms.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

import cell  # noqa: E402
import incidents as happens  # noqa: E402
import spoilt  # noqa: E402
from rig import Rig, Running, passes  # noqa: E402
from spoilt import ARM, kill, silence, spoil, spoil_all  # noqa: E402

from tmrl_ros.nodes import topics  # noqa: E402

RESULTS = Path(__file__).parent / "results"
STAND_S, WAIT_S = 1.0, 5.0


@dataclass(frozen=True)
class Fault:
    """What is done, and what has to come of it."""

    number: int
    says: str
    inject: Callable[[Rig, int], None]  # (rig, injection)
    reason: str  # of the hold, or of the refusal in the supervisor's log; a pattern
    # bad: a message; counted: the fifth of a kind; silence; told: by who saw it; refused: nothing has to hold;
    # stands: nobody holds; goes_on: the injection itself says what came of it, in rig.judged
    kind: str
    limit_ms: float
    from_s: float = 0.0  # after the onset: from when it can be told
    heal: Callable[[Rig], None] = lambda rig: None
    stays: bool = False  # held for another second, though what was wrong is over, and a resume is refused
    where: str = "session"  # or "cameras", "wide": without the task's box, or "learner"


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
    Fault(6, "objects' source killed", silence(topics.OBJECTS.name), "newest observation is", "silence", 250),
    Fault(
        8, "stale object stamps", spoil_all(spoilt.shift_stamp(-1), topics.OBJECTS.name), "newest observation",
        "silence", 250,
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
    Fault(32, "two operators", happens.two_operators, "", "goes_on", 100),
    Fault(33, "teleop device lost", happens.device_lost, "teleoperation device is silent", "silence", 150),
    Fault(34, "operator lost", happens.operator_lost, "operator 'rig' is silent", "told", 2000),
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
        24, "driven at a joint's end", happens.to_a_joints_end, "", "goes_on", 0, heal=happens.home, where="wide"
    ),
    Fault(
        25, "driven at a singularity", happens.to_a_singularity, "", "goes_on", 0, heal=happens.home, where="wide"
    ),
]  # fmt: skip
WIDE = {"workspace_min_m": [0.0, -0.8, -0.2], "workspace_max_m": [1.0, 0.8, 1.0]}
RIGS = {
    "session": {"robot": True}, "cameras": {"camera": True}, "wide": {"limits": WIDE}, "learner": {"learner": True},
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
    """Inject, see what comes of it, heal, resume: {"safe", "right", "ms"}, ms None where nothing has to hold."""
    rig.spin(float(np.random.default_rng([fault.number, injection]).uniform(0.2, 1.0)))
    rig.resume()
    rig.arm()
    fault.inject(rig, injection)
    rig.until(lambda: _begun(rig))
    if fault.kind == "refused":
        rig.spin(1.0)
        said = [at_s for at_s, text in rig.logs if re.search(fault.reason, text)]
        outcome = {"safe": rig.acting and rig.slow, "right": bool(said), "ms": None}
        return _back(rig, fault, outcome)
    if fault.kind == "goes_on":
        _tell_failure(rig, fault, rig.judged)
        return _back(rig, fault, rig.judged)
    if fault.kind == "stands":
        rig.until(lambda: rig.stands, WAIT_S, strict=False)
        stood = rig.stands
        ms = 1e3 * (rig.stood_s - rig.onset_s) if stood else None
        return _back(rig, fault, {"safe": stood and rig.slow, "right": stood, "ms": ms})
    came = rig.until(lambda: rig.held_s is not None, WAIT_S, strict=False)
    reason = rig.status.reason
    rig.rules = dict.fromkeys(rig.rules, passes)  # the arm has to be seen again to be seen standing
    stands = rig.until(lambda: rig.stands, STAND_S, strict=False)
    ms = 1e3 * (rig.held_s - rig.onset_s - fault.from_s) if came else None
    if fault.stays:
        rig.spin(1.0)
        stands = stands and rig.held and bool(rig.operate("resume"))
    outcome = {
        "safe": came and stands and rig.slow,
        "right": bool(came and re.search(fault.reason, reason)),
        "ms": ms,
    }
    _tell_failure(rig, fault, outcome, reason)
    return _back(rig, fault, outcome)


def _tell_failure(rig: Rig, fault: Fault, outcome: dict, reason: str = "") -> None:
    if not (outcome["safe"] and outcome["right"]):
        reason = reason or rig.status.reason
        print(f"  {fault.number}: {reason!r}, {outcome}, {rig.fastest.round(2).tolist()}", file=sys.stderr)


def injected_all(rig_options: dict, some: list[Fault], count: int) -> dict[int, list[dict]]:
    """Outcomes by number, all in one session."""
    outcomes = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        rig = stack.enter_context(Running(Path(folder), **rig_options))
        for fault in some:
            outcomes[fault.number] = [injected(rig, fault, k) for k in range(count)]
            print(row(fault, outcomes[fault.number]), file=sys.stderr, flush=True)
    return outcomes


def _begun(rig: Rig) -> bool:
    """Whether the fault has begun; a hold before that, by a machine that stalls, is no part of it."""
    if rig.onset_s is None and rig.held:
        rig.resume()
    return rig.onset_s is not None


def _back(rig: Rig, fault: Fault, outcome: dict) -> dict:
    rig.rules = dict.fromkeys(rig.rules, passes)
    fault.heal(rig)
    if fault.kind == "stands":
        rig.status = None
        rig.resume()
    elif fault.kind not in ("refused", "goes_on") or rig.held:
        rig.resume()
    return outcome


def unsafe_configurations() -> list[dict]:
    """46: each refuses to start with status 2 and names the key."""
    outcomes = []
    for key, value in UNSAFE:
        command = [sys.executable, "-m", "tmrl_ros.nodes", "supervisor", "--ros-args", "-p", f"{key}:={value}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        named = key.split(".")[-1] in done.stderr and "Traceback" not in done.stderr
        outcomes.append({"safe": done.returncode == 2, "right": named, "ms": None})
        if not named:
            print(f"  46: {key} = {value}: {done.stderr[-300:]!r}", file=sys.stderr)
    return outcomes


# ---- all of them ----


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each fault once, about a minute")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of faults")
    parser.add_argument("--injections", type=int, default=20)
    parser.add_argument("--loaded", action="store_true", help="keep every core busy beside it")
    options = parser.parse_args()
    count = 1 if options.quick else options.injections
    chosen = [fault for fault in FAULTS if not options.only or fault.number in options.only]
    chosen.sort(key=lambda fault: fault.number)
    outcomes: dict[int, list[dict]] = {}
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(os.cpu_count() * options.loaded)]
    for burner in burners:
        burner.start()
    for where, options_of_rig in RIGS.items():
        if here := [fault for fault in chosen if fault.where == where]:
            outcomes |= injected_all(options_of_rig, here, count)
    if not options.only or 46 in options.only:
        outcomes[46] = unsafe_configurations()
    for burner in burners:
        burner.kill()
    text = table(chosen, outcomes)
    print(text)
    if not options.quick and not options.only:
        name = "faults_loaded.md" if options.loaded else "faults.md"
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())  # the last 1, 5 and 15 minutes
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {load}"
        head = f"# Faults injected into real processes\n\n`python benchmarks/faults.py --injections {count}`"
        (RESULTS / name).write_text(f"{head}{' --loaded' * options.loaded}, on {machine}.\n\n{text}\n")
    print(json.dumps(summary(chosen, outcomes)))


def _burn() -> None:
    while True:
        pass


def row(fault: Fault, outcomes: list[dict]) -> str:
    safe, right = (sum(o[key] for o in outcomes) for key in ("safe", "right"))
    times = [o["ms"] for o in outcomes if o["ms"] is not None]
    p50, p99 = (f"{np.percentile(times, q):.0f}" if times else "" for q in (50, 99))
    cells = [fault.number, fault.says, len(outcomes), safe, right, p50, p99, f"{fault.limit_ms:g}" if times else ""]
    return "| " + " | ".join(map(str, cells)) + " |"


def table(chosen: list[Fault], outcomes: dict[int, list[dict]]) -> str:
    lines = ["| # | fault | injected | safe | right reason | ms, p50 | p99 | wanted |", "|" + "---|" * 8]
    lines += [row(fault, outcomes[fault.number]) for fault in chosen]
    if 46 in outcomes:
        safe, right = (sum(o[key] for o in outcomes[46]) for key in ("safe", "right"))
        lines.append(f"| 46 | unsafe configuration | {len(outcomes[46])} | {safe} | {right} | | | |")
    return "\n".join(lines)


def summary(chosen: list[Fault], outcomes: dict[int, list[dict]]) -> dict:
    every = [o for some in outcomes.values() for o in some]
    kinds = {fault.number: fault.kind for fault in chosen}

    def p99(kind: str) -> float | None:
        times = [o["ms"] for number, some in outcomes.items() for o in some if kinds.get(number) == kind]
        times = [ms for ms in times if ms is not None]
        return round(float(np.percentile(times, 99)), 1) if times else None

    return {
        "injected": len(every),
        "safe": round(sum(o["safe"] for o in every) / len(every), 4),
        "right_reason": round(sum(o["right"] for o in every) / len(every), 4),
        "hold_p99_bad_ms": p99("bad"),
        "hold_p99_silence_ms": p99("silence"),
    }


if __name__ == "__main__":
    main()
