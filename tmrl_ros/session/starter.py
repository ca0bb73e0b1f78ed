"""Starts a node graph as supervised processes, where ros2launch is not installed, and ends all of them.

The supervisor's end is the session's end. A node that may restart (the learner) does, some times; any other that dies
ends the session with a sentence that holds the end of its log, and so does a session that never starts.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tmrl_ros.errors import TmrlError
from tmrl_ros.nodes.monitor import StatusMonitor
from tmrl_ros.nodes.runtime import STARTER_PID, use_loopback
from tmrl_ros.parameters import write_parameters
from tmrl_ros.session import resume, shared_memory
from tmrl_ros.session.domain import note, session_domain
from tmrl_ros.session.graph import NodeSpec, check_folders
from tmrl_ros.types import SessionStatus

POLL_S = 0.2  # wall time between looks at the processes
START_S = 180.0  # wall time within which a session that starts by itself must be heard of
GRACE_S = 10.0  # wall time from SIGTERM to SIGKILL: bags are closed and checkpoints written in it
LOG_TAIL_LINES = 5
ROBOT = "franka"  # the node that a session with a robot has
LAST_NODES = ("player", "supervisor")  # the end of the first that there is is the session's


class NodeDied(TmrlError):
    """A node that the session needs ended before the session did, or never let it start."""


class NodeProcess:
    """One node as a process in a group of its own; `log` gets its output."""

    def __init__(self, spec: NodeSpec, command: Sequence[str], log: Path, environment: dict[str, str]):
        self.spec, self.log = spec, log
        self._command, self._environment = command, environment
        self.restarts = 0
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def ended(self) -> int | None:
        """Exit status, negative after a signal; None while it runs."""
        return self.process.poll()

    def signal(self, number: int) -> None:
        """To the node's whole group, if the node still runs."""
        if self.process and self.ended() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def tail(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-LOG_TAIL_LINES:]) or "its log is empty"


def run_session(
    specs: Sequence[NodeSpec],
    folder: Path,
    on_status: Callable[[SessionStatus], None] = lambda status: None,
    on_restart: Callable[[str], None] = lambda sentence: None,
    namespace: str = "",
    on_started: Callable[[dict[str, int]], None] = lambda pids: None,
) -> int:
    """Runs the graph until the supervisor ends, and returns its exit status; logs and parameters go to `folder`.

    Call it from the main thread: nodes end with the thread that started them. Raises NodeDied when a needed node ends
    first. `on_started` gets the process id of each node.
    """
    check_folders(specs)
    logs = folder / "logs"
    values = {spec.name: spec.parameters for spec in specs}
    parameters = folder / "parameters.yaml"
    resumed = resume.is_resumed(values)
    if resumed:
        resume.check_parameters(parameters, values)
    logs.mkdir(parents=True, exist_ok=True)
    _write_whole(parameters, values)
    shared_memory.remove_abandoned()
    robot = any(spec.name == ROBOT for spec in specs)
    with session_domain(robot) as domain_id, _sigterm_interrupts():
        note(folder, domain_id)
        environment = node_environment(domain_id, logs)
        nodes = [
            NodeProcess(spec, node_command(spec, parameters, namespace), logs / f"{spec.name}.log", environment)
            for spec in specs
        ]
        monitor = StatusMonitor(domain_id, namespace)
        try:
            for node in nodes:
                if not resumed:
                    node.log.unlink(missing_ok=True)
                node.start()
            on_started({node.spec.name: node.process.pid for node in nodes})
            if not values.get("supervisor", {}).get("autostart", True):
                on_restart(f"a person starts it: tmrl operate {folder}")
            return _watch(nodes, monitor, on_status, on_restart)
        finally:
            end_all(nodes)
            monitor.close()


def _write_whole(path: Path, values: dict[str, dict]) -> None:
    """A kill leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    write_parameters(temporary, values)
    os.replace(temporary, path)


def node_command(spec: NodeSpec, parameters: Path, namespace: str) -> list[str]:
    return [
        *(sys.executable, "-m", "tmrl_ros.nodes", spec.name, "--ros-args", "--params-file", str(parameters)),
        *("-r", f"__ns:=/{namespace.strip('/')}", "-p", f"use_sim_time:={str(spec.use_sim_time).lower()}"),
    ]


def node_environment(domain_id: int, logs: Path) -> dict[str, str]:
    """One thread a process: the nodes are many and the cores few."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "ROS_LOG_DIR": str(logs / "ros")}
    environment |= {STARTER_PID: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, "1")
    environment.setdefault("MUJOCO_GL", "egl")
    use_loopback(environment)
    return environment


def _watch(nodes: Sequence[NodeProcess], monitor: StatusMonitor, on_status, on_restart) -> int:
    last = next(node for name in LAST_NODES for node in nodes if node.spec.name == name)
    silent_until_s = time.monotonic() + START_S if last.spec.parameters.get("autostart") else math.inf
    while True:
        time.sleep(POLL_S)
        over = last.ended() is not None  # asked first, so that the last status is read
        status = monitor.poll()
        if status:
            silent_until_s = math.inf
            on_status(status)
        if over:
            return _status_of(last)
        for node in nodes:
            if node.ended() is not None:
                _restart(node, on_restart)
        if time.monotonic() > silent_until_s:
            raise NodeDied(
                f"the session has not started within {START_S:g} s; supervisor's log {last.log} ends: {last.tail()}"
            )


def _status_of(last: NodeProcess) -> int:
    name, status = last.spec.name, last.ended()
    if status < 0:
        raise NodeDied(f"{name} was killed by signal {-status}; its log ends: {last.tail()}")
    if status > 0:
        raise NodeDied(f"{name} ended with status {status}; its log ends: {last.tail()}")
    return 0


def _restart(node: NodeProcess, on_restart) -> None:
    name, status, allowed = node.spec.name, node.ended(), node.spec.restarts
    if node.restarts >= allowed:
        again = f" after {allowed} restarts" if allowed else ""
        raise NodeDied(f"{name} ended with status {status}{again}; its log {node.log} ends: {node.tail()}")
    node.restarts += 1
    on_restart(f"{name} ended with status {status} and starts again ({node.restarts} of {allowed})")
    node.start()


def end_all(nodes: Sequence[NodeProcess]) -> None:
    """SIGTERM to what still runs, SIGKILL to what runs after the grace."""
    for node in nodes:
        node.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while any(node.process and node.ended() is None for node in nodes) and time.monotonic() < deadline:
        time.sleep(0.02)
    for node in nodes:
        node.signal(signal.SIGKILL)
        if node.process:
            node.process.wait()


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends the session as Ctrl-C does."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
