"""Faults injected into a running session of real processes: does the arm stop, how soon, and does it say why?

    python benchmarks/faults.py [--quick] [--only 1 19] [--injections 20] [--loaded]

Numbers are those of the design's list of faults. Perception, policy, supervisor and a simulated arm paced by the wall
clock run as processes at 50 Hz; a proxy spoils what passes between them (tests/faults/rig.py). Time to hold runs from
the first spoilt message, or from the silence, to when another process hears the supervisor say HOLD or FAULT. Safe: the
arm stands within a second of that, or of the end of its last window, and no joint was ever faster than its limit.
A fault that only has to be refused is safe if the session goes on. --loaded keeps every core busy beside it.

The last line is {"injected", "safe", "right_reason", "hold_p99_bad_ms", "hold_p99_silence_ms"}: a bad message has to
hold within 10 ms, silence within 150 ms.
"""

import argparse
import copy
import json
import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from std_msgs.msg import Bool

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

from rig import Rig, Running, drops, passes  # noqa: E402

from tmrl_ros import fr3  # noqa: E402
from tmrl_ros.nodes import topics  # noqa: E402

RESULTS = Path(__file__).parent / "results"
STAND_S, WAIT_S = 1.0, 5.0
SPEED_SLACK = 1.3  # of the simulated arm's measured over its commanded speed: it is a spring
CHUNK, ARM = topics.ACTION_CHUNK.name, topics.JOINT_STATES.name


@dataclass(frozen=True)
class Fault:
    """What is done, and what has to come of it."""

    number: int
    says: str
    inject: Callable[[Rig, int], None]  # (rig, injection)
    reason: str  # of the hold, or of the refusal in the supervisor's log; a pattern
    kind: (
        str  # bad: a message; counted: the fifth of a kind; silence; refused: nothing has to hold; stands: nobody holds
    )
    limit_ms: float
    from_s: float = 0.0  # after the onset: from when it can be told
    heal: Callable[[Rig], None] = lambda rig: None


# ---- what can be done to a session ----


def spoil(change: Callable[[object, int], None], topic: str = CHUNK, also_good: bool = False):
    """The next message is changed; `also_good`: the right one comes right after it."""

    def inject(rig: Rig, injection: int) -> None:
        def rule(message):
            rig.rules[topic] = passes
            rig.onset()
            bad = copy.deepcopy(message)
            change(bad, injection)
            return [(0.0, bad), *([(0.0, message)] if also_good else [])]

        rig.rules[topic] = rule

    return inject


def spoil_all(change: Callable[[object, int], None], topic: str):
    """Every message from the next on is changed."""

    def inject(rig: Rig, injection: int) -> None:
        def rule(message):
            rig.onset()
            change(message, injection)
            return [(0.0, message)]

        rig.rules[topic] = rule

    return inject


def silence(*names: str):
    def inject(rig: Rig, injection: int) -> None:
        rig.onset()
        rig.rules.update(dict.fromkeys(names or rig.rules, drops))

    return inject


def delayed(seconds: float):
    def inject(rig: Rig, injection: int) -> None:
        def rule(message):
            rig.rules[CHUNK] = passes
            rig.onset()
            return [(seconds, message)]

        rig.rules[CHUNK] = rule

    return inject


def again(rig: Rig, injection: int) -> None:
    def rule(message):
        rig.rules[CHUNK] = passes
        rig.onset()
        return [(0.0, message), (0.0, message)]

    rig.rules[CHUNK] = rule


def out_of_order(rig: Rig, injection: int) -> None:
    """The chunk of this decision comes once more before that of the next."""

    def first(message):
        def second(following):
            rig.rules[CHUNK] = passes
            rig.onset()
            return [(0.0, message), (0.0, following)]

        rig.rules[CHUNK] = second
        return [(0.0, message)]

    rig.rules[CHUNK] = first


def kill(number: int, name: str):
    def inject(rig: Rig, injection: int) -> None:
        rig.onset()
        rig.signal(name, number)

    return inject


def revive(name: str):
    def heal(rig: Rig) -> None:
        rig.start(name, **rig.parameters[name])
        publishers = topics.POLICY_HEARTBEAT.name if name == "policy" else topics.TRAJECTORY.name
        rig.until(lambda: rig.count_publishers(f"raw/{publishers}" if name == "policy" else publishers))
        rig.spin(1.0)

    return heal


def second_publisher(rig: Rig, injection: int) -> None:
    rig.rogue = topics.TRAJECTORY.publisher(rig)
    rig.onset()


def freeze_hand(rig: Rig, injection: int) -> None:
    """The policy opens the closed hand, whose measured width stays what it was, with fresh stamps."""
    frozen = []

    def measured(message):
        frozen.append(message.position)
        message.position = frozen[0]
        return [(0.0, message)]

    def opening(message):
        rig.onset()
        message.actions[3::4] = array("f", [-1.0] * (len(message.actions) // 4))
        return [(0.0, message)]

    rig.rules |= {topics.GRIPPER_STATES.name: measured, CHUNK: opening}


def press(rig: Rig, injection: int) -> None:
    rig.button = topics.E_STOP.publisher(rig)
    rig.until(rig.button.get_subscription_count)
    rig.spin(0.3)  # discovery goes both ways
    rig.onset()
    rig.button.publish(Bool(data=True))


def release(rig: Rig) -> None:
    rig.button.publish(Bool(data=False))
    rig.spin(0.1)
    rig.destroy_publisher(rig.button)


def shift_stamp(seconds: float):
    def change(message, injection: int) -> None:
        stamp = message.header.stamp
        ns = max(0, stamp.sec * 10**9 + stamp.nanosec + round(seconds * 1e9))
        stamp.sec, stamp.nanosec = divmod(ns, 10**9)

    return change


def _actions(change: Callable[[np.ndarray, int], np.ndarray]):
    def on(message, injection: int) -> None:
        rows = change(np.array(message.actions, np.float32), injection)
        message.actions = rows.tolist()

    return on


def _not_finite(rows, injection):
    rows[np.random.default_rng(injection).integers(len(rows))] = (np.nan, np.inf, -np.inf)[injection % 3]
    return rows


def _jump(message, injection):
    shift_stamp((10, -10)[injection % 2])(message, injection)


def _next_episode(message, injection):
    message.episode += 1 + injection


def _push(message, injection):
    force = message.wrench.force
    force.x, force.y, force.z = (60.0 * np.roll([1.0, 0.0, 0.0], injection)).tolist()


SILENT_POLICY = "policy is silent|action_chunk is silent|newest observation is"
FAULTS = [
    Fault(1, "policy killed", kill(signal.SIGKILL, "policy"), SILENT_POLICY, "silence", 150, heal=revive("policy")),
    Fault(
        2, "policy hangs", kill(signal.SIGSTOP, "policy"), SILENT_POLICY, "silence", 150,
        heal=lambda rig: rig.signal("policy", signal.SIGCONT),
    ),
    Fault(
        3, "supervisor killed", kill(signal.SIGKILL, "supervisor"), "", "stands", 150, heal=revive("supervisor")
    ),
    Fault(6, "objects' source killed", silence(topics.OBJECTS.name), "newest observation is", "silence", 250),
    Fault(
        8, "stale object stamps", spoil_all(shift_stamp(-1), topics.OBJECTS.name), "newest observation", "silence", 250
    ),
    Fault(11, "joint states silent", silence(ARM), "joint_states is silent", "silence", 150),
    Fault(13, "network lost", silence(), "is silent", "silence", 150),
    Fault(14, "chunk 300 ms late", delayed(0.3), "action_chunk is silent", "silence", 170),
    Fault(15, "duplicate chunk", again, "none is awaited|already answered", "refused", 10),
    Fault(16, "chunks out of order", out_of_order, "already answered or is old", "refused", 10),
    Fault(17, "clock jumps 10 s", spoil_all(_jump, ARM), "jumped", "bad", 150),
    Fault(18, "chunk 200 ms in the future", spoil(shift_stamp(0.2), also_good=True), "in the future", "refused", 10),
    Fault(19, "NaN or infinite action", spoil(_actions(_not_finite)), "holds (nan|-?inf)", "bad", 10),
    Fault(20, "huge actions", spoil(_actions(lambda r, k: r * 0 + 1e6)), "in a row beyond", "counted", 100, 0.4),
    Fault(21, "chunk one row short", spoil(_actions(lambda r, k: r[:-4])), "shape|rows", "bad", 10),
    Fault(22, "chunk of an old observation", spoil(shift_stamp(-0.5), also_good=True), "s old", "refused", 10),
    Fault(23, "chunk of another episode", spoil(_next_episode, also_good=True), "of episode", "refused", 10),
    Fault(27, "force of 60 N", spoil_all(_push, topics.WRENCH.name), "external force", "bad", 20),
    Fault(28, "hand stuck", freeze_hand, "the hand is stuck", "counted", 4000),
    Fault(31, "emergency stop", press, "emergency stop is pressed", "bad", 50, heal=release),
    Fault(
        40, "second publisher of commands", second_publisher, "another node publishes", "silence", 150,
        heal=lambda rig: rig.destroy_publisher(rig.rogue),
    ),
]  # fmt: skip
NOT_INJECTED = "4 5 7 9 10 12 24-26 29 30 32-34"
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
        outcome = {"safe": rig.acting and _slow(rig), "right": bool(said), "ms": None}
        return _back(rig, fault, outcome)
    if fault.kind == "stands":
        rig.until(lambda: _stands(rig), WAIT_S, strict=False)
        stood = _stands(rig)
        ms = 1e3 * (rig.stood_s - rig.onset_s) if stood else None
        return _back(rig, fault, {"safe": stood and _slow(rig), "right": stood, "ms": ms})
    came = rig.until(lambda: rig.held_s is not None, WAIT_S, strict=False)
    reason = rig.status.reason
    rig.rules = dict.fromkeys(rig.rules, passes)  # the arm has to be seen again to be seen standing
    stands = rig.until(lambda: _stands(rig), STAND_S, strict=False)
    ms = 1e3 * (rig.held_s - rig.onset_s - fault.from_s) if came else None
    outcome = {
        "safe": came and stands and _slow(rig),
        "right": bool(came and re.search(fault.reason, reason)),
        "ms": ms,
    }
    if not (outcome["safe"] and outcome["right"]):
        print(f"  {fault.number}: {reason!r}, {outcome}, {rig.fastest.round(2).tolist()}", file=sys.stderr)
    return _back(rig, fault, outcome)


def _begun(rig: Rig) -> bool:
    """Whether the fault has begun; a hold before that, by a machine that stalls, is no part of it."""
    if rig.onset_s is None and rig.held:
        rig.resume()
    return rig.onset_s is not None


def _stands(rig: Rig) -> bool:
    return rig.stood_s is not None and time.monotonic() - rig.stood_s > 0.05


def _slow(rig: Rig) -> bool:
    return bool((rig.fastest <= SPEED_SLACK * fr3.RECTANGULAR_DQ_MAX).all())


def _back(rig: Rig, fault: Fault, outcome: dict) -> dict:
    rig.rules = dict.fromkeys(rig.rules, passes)
    fault.heal(rig)
    if fault.kind == "stands":
        rig.status = None
        rig.resume()
    elif fault.kind != "refused" or rig.held:
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
    outcomes: dict[int, list[dict]] = {}
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(os.cpu_count() * options.loaded)]
    for burner in burners:
        burner.start()
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder)) as rig:
        for fault in chosen:
            outcomes[fault.number] = [injected(rig, fault, k) for k in range(count)]
            print(row(fault, outcomes[fault.number]), file=sys.stderr, flush=True)
    if not options.only or 46 in options.only:
        outcomes[46] = unsafe_configurations()
    for burner in burners:
        burner.kill()
    text = table(chosen, outcomes)
    print(text)
    if not options.quick and not options.only:
        name = "faults_loaded.md" if options.loaded else "faults.md"
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, shared"
        (RESULTS / name).write_text(f"{text}\n\nNot injected yet: {NOT_INJECTED}. Machine: {machine}\n")
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
