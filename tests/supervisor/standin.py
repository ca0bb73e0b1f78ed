"""A robot that follows its command exactly, and a policy that answers: enough to drive the SupervisorCore."""

import numpy as np

from tmrl_ros import fr3
from tmrl_ros.config import SupervisorConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import (
    ActionChunk,
    DecisionRequest,
    Modulation,
    ResetRequest,
    RobotState,
    SessionState,
    TaskState,
    TeleopCommand,
)

START_NS = 1_000_000_000


def config(**values) -> SupervisorConfig:
    """Short resets keep the tests fast."""
    task = {"reset_s": 0.5, "episode_s": 2.0} | values.pop("task", {})
    return SupervisorConfig(**({"mode": "evaluate", "episodes": 2, "task": task} | values))


def chunk_for(request: DecisionRequest, rows=None, **changes) -> ActionChunk:
    """A valid answer, standing still unless rows [16, 4] say otherwise, with some fields changed."""
    rows = np.zeros((16, 4), np.float32) if rows is None else rows
    modulation = Modulation(np.full(4, 0.5, np.float32), 0.1)
    values = {
        "stamp_ns": request.stamp_ns, "episode": request.episode, "decision": request.decision, "dt_s": 0.1,
        "actions": rows, "modulation": modulation, "actor_version": 3,
    }  # fmt: skip
    return ActionChunk(**(values | changes))


def wish(stamp_ns, velocity=(0, 0, 0), close=False, **flags) -> TeleopCommand:
    return TeleopCommand(stamp_ns, np.array(velocity, float), close, **({"clutch": True} | flags))


class StandIn:
    """Ticks a core against perfect tracking and keeps all that came out of it.

    policy(request) -> ActionChunk or None, teleop(stamp_ns) -> TeleopCommand or None, success(standin) -> bool.
    """

    def __init__(self, core: SupervisorCore, policy=chunk_for, teleop=wish, success=lambda standin: False):
        self.core, self.policy, self.teleop, self.success = core, policy, teleop, success
        self.stamp_ns, self.tick_ns = START_NS, round(1e9 / core.config.timing.command_hz)
        self.q, self.dq, self.force_n, self.width_m = fr3.HOME_Q.copy(), np.zeros(7), np.zeros(3), 0.08
        self.place = lambda request: True
        self.windows, self.modes, self.records, self.requests, self.resets, self.errors = [], [], [], [], [], []

    def tick(self) -> None:
        robot = RobotState(self.stamp_ns, self.q, self.dq, self.width_m, self.force_n)
        task = TaskState(self.stamp_ns, self.success(self), np.zeros((1, 3)))
        need = self.core.tick(robot, task, self.teleop(self.stamp_ns))
        if isinstance(need, DecisionRequest):
            self.requests.append(need)
            self._answer(need)
        elif isinstance(need, ResetRequest):
            self.resets.append(need)
            self.core.objects_reset(self.place(need))
        window, self.width_m = self.core.command()
        self.windows.append(window)
        self.modes.append(self.core.status().mode)
        self.records += self.core.drain()
        self.q, self.dq = window.q[1], window.dq[1]
        self.stamp_ns += self.tick_ns

    def _answer(self, request) -> None:
        chunk = self.policy(request)
        if chunk is None:
            return
        try:
            self.core.offer(chunk)
        except ActionError as error:
            self.errors.append(str(error))

    def run(self, seconds: float = 120.0, until=lambda standin: False) -> "StandIn":
        """Tick for so long, or to the end of the session, or until something holds."""
        for _ in range(round(seconds * 1e9 / self.tick_ns)):
            if self.core.status().state == SessionState.ENDED or until(self):
                break
            self.tick()
        return self

    def of(self, kind) -> list:
        return [record for record in self.records if isinstance(record, kind)]

    def ends(self) -> list:
        return [event for event in self.records if getattr(event, "kind", "") == "ended"]


def session(policy=chunk_for, teleop=wish, success=lambda standin: False, **values) -> StandIn:
    core = SupervisorCore(config(**values))
    core.start()
    return StandIn(core, policy, teleop, success)
