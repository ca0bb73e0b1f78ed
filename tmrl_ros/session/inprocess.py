"""The same session in one process, without ROS: for benchmarks, and as the reference the nodes are compared with.

Calls the cores in the order in which lockstep makes the nodes answer (docs/architecture.md), so that a seed gives the
same episodes here and there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tmrl_ros.config import LearnerConfig, Model
from tmrl_ros.data import store
from tmrl_ros.data.assembler import Assembler
from tmrl_ros.learner.core import Learner
from tmrl_ros.perception.state import state_observation
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.server import PolicyServer
from tmrl_ros.policy.versions import ActorVersions
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.session.seeing import Seeing
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import CommandWindow, Decision, DecisionRequest, Observation, ResetRequest, RobotState, SessionState


class InProcessSession:
    """Runs one session to its end; `watch` gets every Observation, Decision, EpisodeEvent and dict of metrics.

    Where cameras look, an observation is made only when it is needed: at decisions, and at each row of a person's. Set
    `sparing` to False to have all of them.
    """

    def __init__(
        self,
        sim: SimRobot,
        supervisor: SupervisorCore,
        policy: PolicyServer | None = None,
        learner: Learner | None = None,
        teleop: ScriptedTeleop | None = None,
        watch: Callable[[object], None] = lambda record: None,
        seeing: Seeing | None = None,
    ):
        self.sim, self.supervisor, self.policy, self.learner, self.teleop = sim, supervisor, policy, learner, teleop
        self.watch, self.seeing, self.sparing = watch, seeing, bool(seeing and not teleop)
        self.assembler = Assembler(supervisor.config.timing)
        self.versions = ActorVersions(learner.config.versions) if learner else None
        if learner:
            self._offer_actor()
        self.tick_count, self._observed_ns = 0, -1
        self.observation, self.felt, self.wanted_width_m = None, None, 0.0  # of the last observation tick

    @classmethod
    def of_nodes(cls, nodes: Mapping[str, Model], watch: Callable[[object], None]) -> "InProcessSession":
        """The session that these configurations by node name describe (session/graph.py)."""
        sim, supervisor = nodes["sim"], nodes["supervisor"]
        policy, learner, teleop = nodes.get("policy"), nodes.get("learner"), nodes.get("teleop")
        robot, perception = SimRobot(sim.task, sim.timing, sim.shift, sim.seed), nodes.get("perception")
        return cls(
            robot,
            SupervisorCore(supervisor),
            policy and PolicyServer(policy, BasePolicy.load(Path(policy.base))),
            learner and _learner(learner),
            teleop and ScriptedTeleop(teleop.task.name, teleop.seed),
            watch,
            Seeing.through(perception, robot, sim) if perception and perception.cameras else None,
        )

    def run(self) -> None:
        """Tick until the supervisor says that the session has ended."""
        self.supervisor.start()
        while self.supervisor.status().state != SessionState.ENDED:
            self.tick()

    def tick(self) -> None:
        """One tick of the command stream."""
        timing = self.supervisor.config.timing
        observing = self.tick_count % (timing.command_hz // timing.action_hz) == 0
        if observing and not self.sparing:
            self._observe()
        wish = self.teleop.command(self.sim) if self.teleop and observing else None
        need = self.supervisor.tick(self._robot_state(observing), self.sim.task_state(), wish)
        if isinstance(need, DecisionRequest):
            self._use_due_actor(need.decision)
            self._observe()
            if self.observation:  # without one there is no chunk, and the supervisor holds
                self.supervisor.offer(self.policy.decide(need, self.observation))
        elif isinstance(need, ResetRequest):
            self.sim.reset_objects(need.stream, need.episode)
            self.supervisor.objects_reset(True)
        window, width_m = self.supervisor.command()
        for record in self.supervisor.drain():
            self.watch(record)
            if isinstance(record, Decision):
                self._observe()
                self._learn_from(record)
        if observing:  # gripper_command is published then, so the hand follows a reset's wish no sooner
            self.wanted_width_m = width_m
        self.sim.run_tick(as_published(window), self.wanted_width_m)
        self.tick_count += 1

    def _observe(self) -> None:
        """The observation of this tick, once; None where the cameras' images make none."""
        if self._observed_ns == self.sim.stamp_ns:
            return
        self._observed_ns = self.sim.stamp_ns
        self.observation = self.seeing.observe(self.sim) if self.seeing else observe(self.sim)
        if self.observation:
            self.assembler.observe(self.observation)
            self.watch(self.observation)

    def _robot_state(self, observing: bool) -> RobotState:
        """Joints of this tick; width and force come at observation ticks, and stand until the next."""
        robot = self.sim.robot_state()
        if observing:
            self.felt = {"width_m": robot.width_m, "force_n": robot.force_n}
        return replace(robot, **self.felt)

    def _use_due_actor(self, decision: int) -> None:
        update = self.versions.take(decision) if self.versions else None
        if update and update[1]:
            self.policy.update_actor(*update)

    def _learn_from(self, decision: Decision) -> None:
        for transition in self.assembler.decide(decision):
            if not self.learner:
                continue
            self.learner.add(transition)
            self.watch(self.learner.learn())
            if self.learner.version % self.versions.period == 0:
                self._offer_actor()

    def _offer_actor(self) -> None:
        self.versions.offer(self.learner.version, self.learner.actor_bytes() if self.learner.warm else b"")


def _learner(config: LearnerConfig) -> Learner:
    stores = (store.read_named(path) for path in (config.demos, config.corrections))
    return Learner(config, BasePolicy.load(Path(config.base)), *stores)


def as_published(window: CommandWindow) -> CommandWindow:
    """As after a message, with times in whole ns: one unit in the last place grows to millimetres through contact."""
    return replace(window, times_s=np.rint(window.times_s * 1e9) / 1e9)


def observe(sim: SimRobot) -> Observation:
    """What perception makes of the simulation's topics at this stamp."""
    robot = sim.robot_state()
    return state_observation(
        sim.stamp_ns, sim.tcp_position(), robot.width_m, sim.observed_objects(), sim.desired_tcp_position()
    )
