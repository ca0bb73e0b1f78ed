"""Faults of messages and of processes: what becomes of the next message, of all, of a node.

Each makes an injection (rig, number) that begins the fault, and calls `rig.onset` when it does.
"""

import copy
from array import array  # noqa
from collections.abc import Callable

import numpy as np
from rig import Rig, drops, passes

from tmrl_ros.nodes import topics

CHUNK, ARM = topics.ACTION_CHUNK.name, topics.JOINT_STATES.name


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
        rig.signal(name, number, wait=False)  # or nothing would be relayed meanwhile

    return inject


def revive(name: str):
    def heal(rig: Rig) -> None:
        rig.until(lambda: rig.processes[name].poll() is not None)
        rig.start(name, **rig.parameters[name])
        publishers = topics.POLICY_HEARTBEAT.name if name == "policy" else topics.TRAJECTORY.name
        rig.until(lambda: rig.count_publishers(f"raw/{publishers}" if name == "policy" else publishers))
        rig.spin(1.0)

    return heal


def shift_stamp(seconds: float):
    def change(message, injection: int) -> None:
        stamp = message.header.stamp
        ns = max(0, stamp.sec * 10**9 + stamp.nanosec + round(seconds * 1e9))
        stamp.sec, stamp.nanosec = divmod(ns, 10**9)

    return change


def actions(change: Callable[[np.ndarray, int], np.ndarray]):
    def on(message, injection: int) -> None:
        rows = change(np.array(message.actions, np.float32), injection)
        message.actions = rows.tolist()

    return on


def not_finite(rows, injection):
    rows[np.random.default_rng(injection).integers(len(rows))] = (np.nan, np.inf, -np.inf)[injection % 3]
    return rows


def jump(message, injection):
    shift_stamp((10, -10)[injection % 2])(message, injection)


def next_episode(message, injection):
    message.episode += 1 + injection


def push(message, injection):
    force = message.wrench.force
    force.x, force.y, force.z = (60.0 * np.roll([1.0, 0.0, 0.0], injection)).tolist()
