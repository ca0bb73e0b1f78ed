"""The nodes of a robot session as processes, with a proxy between them that spoils what passes, and a clock beside it.

The simulation stands in for the arm, paced by the wall clock; perception, policy and supervisor are the real ones. What
RELAYED names goes through this process: `rule` says what becomes of each message.
"""

import heapq
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import cell
import numpy as np
import rclpy
from rcl_interfaces.msg import Log
from rclpy.node import Node
from std_msgs.msg import String

from tmrl_msgs.srv import Operate
from tmrl_ros import fr3
from tmrl_ros.config import BaseConfig, SupervisorConfig, validate
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.operators import OPERATE, OPERATOR
from tmrl_ros.parameters import write_parameters
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.session.domain import reserved_domain
from tmrl_ros.session.starter import node_environment
from tmrl_ros.types import Mode

sys.path.append(str(Path(__file__).parents[1] / "interfaces"))
import stand_ins
from fake_robot import FakeRobot

RELAYED = {  # by the node that publishes it
    "sim": (topics.JOINT_STATES, topics.GRIPPER_STATES, topics.WRENCH, topics.OBJECTS),
    "policy": (topics.ACTION_CHUNK, topics.POLICY_HEARTBEAT),
}
PATIENCE_S = 60.0
STILL_RAD_S = 5e-3  # the simulated arm is a spring and settles
SPEED_SLACK = 1.3  # of its measured over its commanded speed
# Limits under which a machine that stalls adds no faults of its own.
PATIENT = dict.fromkeys(("observation_age_s", "state_timeout_s", "heartbeat_timeout_s", "command_timeout_s"), 1.0)
Rule = Callable[[object], Iterable[tuple[float, object]]]  # message -> (delay s, message), ...


def passes(message) -> list[tuple[float, object]]:
    return [(0.0, message)]


def drops(message) -> list[tuple[float, object]]:
    return []


class Rig(Node):
    """Everything that the benchmark and the tests do to a session, and when it was felt (time.monotonic, s)."""

    def __init__(self, folder: Path, context):
        super().__init__("rig", context=context)
        self.folder, self.status, self.logs, self.processes = folder, None, [], {}
        relayed = [topic for some in RELAYED.values() for topic in some]
        self.rules: dict[str, Rule] = {topic.name: passes for topic in relayed}
        self.rules |= dict.fromkeys((topic.name for topic in (cell.INFO, cell.COLOR, cell.DEPTH)), passes)
        self.repeating: dict[str, list] = {}  # what is done again and again: period s, due s, work
        self.said: dict[str, tuple] = {}  # of /diagnostics by name: level, sentence, values
        self.q, self.arm_ns, self.robot, self._operator = np.zeros(7), 0, None, None
        self.attended = False  # whether the session needs an operator who is there
        self.versions: list[int] = []  # of the actor, as they are published
        topics.ACTOR_UPDATE.subscribe(self, lambda message: self.versions.append(message.version))
        self.held_s = self.stood_s = self.onset_s = None  # since `arm`
        self.held_for = ""  # the reason of that hold
        self.window_end_s = None  # of the newest window: when it was heard, and its last point after that
        self.fastest = np.zeros(7)  # of the arm, since `arm`
        self._due, self._order = [], itertools.count()
        for topic in relayed:
            self._relay(topic)
        topics.SESSION_STATUS.subscribe(self, self._on_status)
        topics.TRAJECTORY.subscribe(self, self._on_window)
        self.create_subscription(Log, "/rosout", self._on_log, 100)
        topics.DIAGNOSTICS.subscribe(self, self._on_diagnostics)
        self._executor = runtime.make_executor(context)
        self._executor.add_node(self)

    def _relay(self, topic) -> None:
        out = topic.publisher(self)

        def pass_on(message):
            if topic is topics.JOINT_STATES:
                self.q, self.arm_ns = np.array(message.position[:7]), convert.stamp_of(message)
                self._see(np.array(message.velocity[:7]))
            self.send(topic.name, out, message)

        topic._replace(name=f"raw/{topic.name}").subscribe(self, pass_on)

    def send(self, name: str, out, message) -> None:
        """Publish what the rule of this name makes of the message."""
        for delay_s, made in self.rules[name](message):
            if delay_s:
                heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._order), out, made))
            else:
                out.publish(made)

    def repeat(self, name: str, rate_hz: float, work: Callable[[], None]) -> None:
        """Do `work` so often while time goes by here; one of the same name is replaced."""
        self.repeating[name] = [1 / rate_hz, 0.0, work]

    def _see(self, dq) -> None:
        self.fastest = np.maximum(self.fastest, np.abs(dq))
        if np.abs(dq).max() > STILL_RAD_S:
            self.stood_s = None
        elif self.stood_s is None:
            self.stood_s = time.monotonic()

    def _on_status(self, message) -> None:
        self.status = convert.from_msg(message)
        if self.held and self.held_s is None:
            self.held_s, self.held_for = time.monotonic(), self.status.reason

    def _on_window(self, message) -> None:
        self.window_end_s = time.monotonic() + convert.to_ns(message.points[-1].time_from_start) * 1e-9

    def _on_log(self, message) -> None:
        if message.name.split(".")[-1] == "supervisor":
            self.logs.append((time.monotonic(), message.msg))

    def _on_diagnostics(self, message) -> None:
        for status in message.status:
            values = {pair.key: float(pair.value) for pair in status.values}
            self.said[status.name] = (status.level, status.message, values)

    # ---- processes ----

    def start(self, name: str, **parameters) -> subprocess.Popen:
        """A node as a process; what it publishes of RELAYED goes to raw/."""
        file = self.folder / f"{name}.yaml"
        file.unlink(missing_ok=True)
        write_parameters(file, {name: parameters})
        renamed = [f"{topic.name}:=raw/{topic.name}" for topic in RELAYED.get(name, ())]
        command = [sys.executable, "-m", "tmrl_ros.nodes", name, "--ros-args", "--params-file", str(file)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, *itertools.chain.from_iterable(("-r", rule) for rule in renamed)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.processes[name]

    def signal(self, name: str, number: int, wait: bool = True) -> None:
        """To the node's whole group; while the end of one is waited for nothing is relayed."""
        os.killpg(self.processes[name].pid, number)
        if number == signal.SIGKILL and wait:
            self.processes[name].wait()

    def close(self) -> None:
        if self.robot:
            self.robot.close()
        for name, process in self.processes.items():
            if process.poll() is None:
                self.signal(name, signal.SIGKILL)
        self.destroy_node()

    # ---- time ----

    def spin(self, seconds: float) -> None:
        self.until(lambda: False, seconds, strict=False)

    def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S, strict: bool = True) -> bool:
        """Relay until the condition holds; raises TimeoutError if it does not in time, unless it need not."""
        end_s = time.monotonic() + patience_s
        while not condition():
            now_s = time.monotonic()
            if now_s > end_s:
                if strict:
                    raise TimeoutError(f"waited {patience_s:g} s; the session: {self.status}")
                return False
            for entry in list(self.repeating.values()):
                if now_s >= entry[1]:
                    entry[1] = max(entry[1] + entry[0], now_s)
                    entry[2]()
            while self._due and self._due[0][0] <= now_s:
                _, _, out, message = heapq.heappop(self._due)
                out.publish(message)
            self._executor.spin_once(timeout_sec=0.001 if self._due else 0.005)
        return True

    # ---- the session ----

    @property
    def held(self) -> bool:
        return bool(self.status and self.status.reason and self.status.mode in (Mode.HOLD, Mode.FAULT))

    @property
    def acting(self) -> bool:
        return bool(self.status and self.status.mode == Mode.POLICY)

    @property
    def stands(self) -> bool:
        """Whether the arm has stood for a moment."""
        return self.stood_s is not None and time.monotonic() - self.stood_s > 0.05

    @property
    def slow(self) -> bool:
        """Whether no joint was too fast since `arm`."""
        return bool((self.fastest <= SPEED_SLACK * fr3.RECTANGULAR_DQ_MAX).all())

    def arm(self) -> None:
        """Forget what was felt so far: a fault is about to be injected."""
        self.held_s, self.onset_s, self.held_for = None, None, ""
        self.fastest, self.logs = np.zeros(7), []

    def onset(self) -> None:
        """The fault begins now; later calls change nothing."""
        if self.onset_s is None:
            self.onset_s, self.held_s = time.monotonic(), None

    def resume(self) -> None:
        """As an operator does: again whenever it holds, until the policy acts."""

        def acts() -> bool:
            if self.attended:
                self.attend()
            if self.held:
                self.operate("resume")
                self.spin(0.1)
            return self.acting

        self.until(acts)

    def operate(self, action: str, name: str = "rig") -> str:
        """Ask as the operator of this name; what was answered, empty where it was done."""
        client = OPERATE.client(self)
        self.until(client.service_is_ready)
        future = client.call_async(Operate.Request(name=name, action=action))
        self.until(future.done)
        self.destroy_client(client)
        return future.result().message

    def attend(self) -> None:
        """Be there as an operator, until `repeating` loses "operator"."""
        if self._operator is None:
            self._operator = OPERATOR.publisher(self)
            self.until(self._operator.get_subscription_count)
            self.spin(0.3)  # discovery goes both ways
        self.repeat("operator", cell.OPERATOR_HZ, lambda: self._operator.publish(String(data="rig")))


def wandering_base(folder: Path) -> Path:
    """A base policy that moves the closed hand about at its height."""
    rng = np.random.default_rng(0)
    chunks = np.repeat(rng.uniform(-0.6, 0.6, (64, 4, 4)), 4, 1).astype(np.float32)
    chunks[:, :, 2:] = 0, 1
    states = rng.normal(size=(64, len(STATE_NAMES))).astype(np.float32)
    base = pretrain({"state": states}, chunks, BaseConfig(kind="plain", width=16, layers=1, steps=50), 0)
    base.save(folder, {"task": "pick_cube"})
    return folder


def parameters(folder: Path, limits: Mapping[str, float] | None = None) -> dict[str, dict]:
    """Of each node: 50 Hz, long episodes, short resets; `limits` of the supervisor replace the rig's."""
    timing = {"command_hz": 50, "real_time": True}
    limits = {"force_hold_n": 50.0, "state_timeout_s": 0.05, **(limits or {})}
    task = {"episode_s": 60.0, "reset_s": 0.5}
    supervisor = {"mode": "evaluate", "episodes": 10**6, "autostart": True, "needs": "sim perception policy"}
    supervisor = {**supervisor, "timing": timing, "limits": limits, "task": task}
    validate(SupervisorConfig, supervisor)
    return {
        "sim": {"timing": timing},
        "perception": {"timing": timing},
        "policy": {"timing": timing, "method": "base", "base": str(folder / "base")},
        "supervisor": supervisor,
    }


def learning(values: dict[str, dict], folder: Path) -> None:
    """Make an evaluation's parameters those of a small fine-tuning, with a checkpoint an episode."""
    steering = {"method": "dsrl", "base": str(folder / "base"), "modulation": {"width": 32}}
    sac = {"batch": 16, "updates_per_decision": 2, "warmup_episodes": 1}
    own = {"checkpoint": str(folder / "checkpoints"), "checkpoint_episodes": 1, "sac": sac}
    values["supervisor"] |= {"mode": "finetune", "session_min": 600.0, "task": {"episode_s": 6.0, "reset_s": 0.5}}
    values["policy"] |= steering
    values["learner"] = {"timing": values["sim"]["timing"], **steering, **own}


class Running:
    """`with Running(folder) as rig`: a session in which the policy acts; everything ends with the block.

    `camera`: perception looks through one. `robot`: the franka node runs beside a robot that says its state. `learner`:
    the session is a fine-tuning. `attended`: it needs an operator, who is there.
    """

    def __init__(
        self, folder: Path, limits: Mapping | None = None, camera=False, robot=False, learner=False, attended=False
    ):
        self.folder, self._limits, self._camera, self._robot = folder, limits, camera, robot
        self._learner, self._attended = learner, attended
        self._stack = ExitStack()

    def __enter__(self) -> Rig:
        try:
            return self._start()
        except BaseException:  # nothing outlives what never came to be
            self._stack.close()
            raise

    def _start(self) -> Rig:
        self.folder.mkdir(parents=True, exist_ok=True)
        wandering_base(self.folder / "base")
        domain = self._stack.enter_context(reserved_domain())
        before = dict(os.environ)
        self._stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        os.environ.update(node_environment(domain, self.folder))
        if self._robot:
            os.environ.update(stand_ins.environment())
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        self._stack.callback(rclpy.try_shutdown, context=context)
        rig = Rig(self.folder, context)
        self._stack.callback(rig.close)
        rig.parameters = parameters(self.folder, self._limits)
        if self._camera:
            rig.parameters["perception"] |= cell.perception(self.folder)
            cell.Camera(rig)
        if self._robot:
            rig.robot = FakeRobot()
            rig.parameters["franka"] = {"timing": rig.parameters["sim"]["timing"]}
        if self._learner:
            learning(rig.parameters, self.folder)
        rig.attended = rig.parameters["supervisor"]["attended"] = self._attended
        for name, values in rig.parameters.items():
            rig.start(name, **values)
        rig.resume()
        return rig

    def __exit__(self, *_) -> None:
        self._stack.close()
