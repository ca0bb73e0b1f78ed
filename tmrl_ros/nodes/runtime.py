"""What every node's main() shares: transport, parameters into one validated model, init, spin, expected shutdown.

A node is an ordinary rclpy Node:

    class Perception(Node):
        def __init__(self):
            super().__init__("perception", **runtime.NODE_OPTIONS)
            self.config = runtime.config_of(self, PerceptionConfig)

    def main():
        runtime.run(Perception)

A node ends by itself with `raise SystemExit(code)` in a callback; a TmrlError there ends it with one sentence and
status 2.
`close()`, where a node has it, is called last, whatever ended it; `take_the_rest` there loses nothing that was waiting.
"""

import ctypes
import gc
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from tmrl_ros.config import Model, validate
from tmrl_ros.errors import TmrlError
from tmrl_ros.parameters import nested

NODE_OPTIONS = {"automatically_declare_parameters_from_overrides": True}
ROS_OWN = ("use_sim_time", "qos_overrides", "start_type_description_service")  # first parts of names that ROS declares
STARTER_PID = "TMRL_STARTER_PID"
REST_S = 3.0  # of wall time, within what a starter grants between its signals
PROFILE = Path(__file__).with_name("fastdds.xml")


def use_loopback(environment) -> None:
    """Keep Fast DDS on this machine, with shared memory that takes an image at once; a person's own settings win.

    ROS's LOCALHOST discovery range would do the first and undo the second: 13 ms a 640x480 image against 3 ms.
    """
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION"}
    profiles = "FASTDDS_DEFAULT_PROFILES_FILE"
    if environment.get("ROS_DISTRO") in ("humble", "iron", "jazzy"):
        profiles = "FASTRTPS_DEFAULT_PROFILES_FILE"
    if own.isdisjoint(environment) and profiles not in environment:
        environment[profiles] = str(PROFILE)
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SYSTEM_DEFAULT"


def die_with_starter() -> None:
    """Ask the kernel for SIGTERM when the process that started this one dies, so that no node outlives its session."""
    starter = int(os.environ.get(STARTER_PID, 0))
    if not starter or not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != starter:
        raise SystemExit(f"the starter (process {starter}) is gone")


def config_of(node: Node, model: type[Model]) -> Model:
    """The node's parameters as `model`; raises ConfigError naming each that is unknown, mistyped or unsafe."""
    values = {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()}
    return validate(model, nested({k: v for k, v in values.items() if k.split(".")[0] not in ROS_OWN}))


def run(make_node: Callable[[], Node], args: list[str] | None = None) -> None:
    """Init, spin, expected shutdown; exits with 0 after SIGINT, SIGTERM or rclpy.shutdown, with 2 after a TmrlError."""
    die_with_starter()
    use_loopback(os.environ)
    _start_rclpy(args)
    node = None
    status: int | str | None = 0
    try:
        node = make_node()
        _spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except SystemExit as end:
        status = end.code
    except TmrlError as error:
        print(f"{node.get_name() if node else make_node.__name__}: {error}", file=sys.stderr)
        status = 2
    except Exception:
        if rclpy.ok():
            raise
        # else: a signal took its context away while the node was being made
    finally:
        _close(node)
    sys.exit(status)


def _start_rclpy(args) -> None:
    try:
        rclpy.init(args=args)
    except Exception as error:  # a parameter file that is missing or is no YAML: rcl raises its own types
        print(re.sub(r", at /.*", "", str(error)), file=sys.stderr)
        sys.exit(2)


def make_executor(context: Context | None = None):
    """An EventsExecutor where rclpy has one (Humble has not): it takes a third of a SingleThreadedExecutor's time."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def _spin(node: Node) -> None:
    """Until shutdown, or until a callback ends the node."""
    endings = _catch_endings(node)
    executor = make_executor()
    executor.add_node(node)
    gc.collect()
    gc.freeze()  # it lives as long as the node: to look through it again costs 15 ms, and 100 where torch is loaded
    while rclpy.ok() and not endings:
        executor.spin_once(timeout_sec=1.0)  # without an end, EventsExecutor 9.1.2 overflows into a busy loop
    if endings:
        raise endings[0]


def _catch_endings(node: Node) -> list[BaseException]:
    """What a callback raises to end its node, kept from the executor, which would log it with a traceback."""
    endings: list[BaseException] = []

    def guard(callback):
        @wraps(callback)
        def guarded(*args):
            if not endings:
                try:
                    return callback(*args)
                except (SystemExit, TmrlError) as ending:
                    endings.append(ending)
            return args[-1] if args else None  # of a service: its response

        return guarded

    for entity in (*node.timers, *node.subscriptions, *node.services):
        entity.callback = guard(entity.callback)
    return endings


def take_the_rest(node: Node) -> None:
    """Hand over the messages that had reached a node when it was ended: ROS still takes them, and publishes no more."""
    until_s = time.monotonic() + REST_S
    for subscription in node.subscriptions:
        while time.monotonic() < until_s:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                break
            subscription.callback(taken[0])


def _close(node: Node | None) -> None:
    if hasattr(node, "close"):
        node.close()
    if node:
        node.destroy_node()
    rclpy.try_shutdown()
