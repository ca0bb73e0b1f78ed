"""The CSP policy server: answers each DecisionRequest with an ActionChunk that names the observation it was made from.

In lockstep that is the one that the request names, elsewhere the newest, since frames and ticks have stamps of their
own; the supervisor judges its age. In lockstep it acts with exactly the actor version that is due
(policy/versions.py). A learner that is silent for longer than lockstep_timeout_s is not waited for again until it
publishes: the robot goes on with stale weights.
"""

from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tmrl_ros.config import PolicyConfig
from tmrl_ros.errors import TmrlError
from tmrl_ros.nodes import convert, diagnostics, runtime, topics
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.server import PolicyServer
from tmrl_ros.policy.versions import ActorVersions
from tmrl_ros.types import DecisionRequest, Observation

KEPT_OBSERVATIONS = 50
HEARTBEAT_S = 0.04  # of wall time
STALE_S = 3.5  # of wall time without the learner's heartbeat; diagnostics, once a second, say so within 5 s
OLD_PERIODS = 3  # of actor versions, by which the one in use may be behind; diagnostics warn beyond


class Policy(Node):
    def __init__(self):
        super().__init__("policy", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, PolicyConfig)
        self.server = PolicyServer(self.config, BasePolicy.load(Path(self.config.base)))
        self.versions = ActorVersions(self.config.versions)
        self.learner_alive = self.config.wait_for_learner
        self.observations: dict[int, Observation] = {}
        self.request: DecisionRequest | None = None
        self.diagnostics = diagnostics.Diagnostics(self, STALE_S)
        waits = self.config.timing.waits
        self.chunks = topics.ACTION_CHUNK.lossless(waits).publisher(self)
        topics.OBSERVATION.lossless(waits).subscribe(self, self._on_observation)
        topics.DECISION_REQUEST.lossless(waits).subscribe(self, self._on_request)
        topics.ACTOR_UPDATE.subscribe(self, self._on_actor)
        topics.LEARNER_HEARTBEAT.subscribe(self, lambda message: self.diagnostics.heard("learner"))
        topics.SAMPLE_POLICY.serve(self, self._on_sample)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.patience = self.create_timer(self.config.timing.lockstep_timeout_s, self._give_up_on_learner, clock=steady)
        self.patience.cancel()
        if not waits:
            self.heartbeats = topics.POLICY_HEARTBEAT.publisher(self)
            self.create_timer(HEARTBEAT_S, self._beat, clock=steady)

    def _beat(self) -> None:
        """Tells a supervisor that does not wait that decisions can be made, and from how fresh an observation."""
        self.heartbeats.publish(convert.heartbeat_msg(max(self.observations, default=0), self.get_name()))

    def _on_observation(self, message) -> None:
        self.diagnostics.heard("observation")
        observation = convert.from_msg(message)
        self.observations[observation.stamp_ns] = observation
        while len(self.observations) > KEPT_OBSERVATIONS:
            del self.observations[next(iter(self.observations))]
        self._answer()

    def _on_request(self, message) -> None:
        self.request = convert.from_msg(message)
        self._answer()

    def _on_actor(self, message) -> None:
        self.learner_alive = self.config.wait_for_learner
        self.versions.offer(message.version, bytes(message.parameters))
        self._answer()

    def _answer(self) -> None:
        """Publish the chunk for the open request as soon as its observation and its actor are there."""
        request = self.request
        observation = self._seen(request)
        if observation is None:
            return
        if self.learner_alive and not self.versions.ready(request.decision):
            if self.patience.is_canceled():
                self.patience.reset()
            return
        self.patience.cancel()
        self.request = None
        self._use_actor(request.decision)
        self._judge_age(request.decision)
        try:
            self.chunks.publish(convert.to_msg(self.server.decide(request, observation)))
        except TmrlError as error:  # no chunk is sent: the supervisor's watchdog holds the robot
            self.get_logger().error(str(error))

    def _seen(self, request: DecisionRequest | None) -> Observation | None:
        """What to answer from, or None as long as it is not there."""
        if request is None or not self.observations:
            return None
        waits = self.config.timing.waits
        return self.observations.get(request.stamp_ns if waits else max(self.observations))

    def _use_actor(self, decision: int) -> None:
        update = self.versions.take(decision) if self.config.wait_for_learner else self.versions.take_newest()
        if not update or not update[1]:
            return
        try:
            self.server.update_actor(*update)
        except TmrlError as error:
            self.get_logger().error(
                f"actor version {update[0]} is refused, version {self.server.version} stays: {error}"
            )

    def _judge_age(self, decision: int) -> None:
        """Counted in decisions, of which a reset has none; where no learner was ever heard no actor is awaited."""
        behind = decision - self.versions.newest
        if self.versions.newest >= 0 and behind > OLD_PERIODS * self.config.versions.period:
            self.diagnostics.say(diagnostics.WARN, f"the newest actor is {behind} decisions old")
        else:
            self.diagnostics.say(diagnostics.OK, "running")

    def _give_up_on_learner(self) -> None:
        self.patience.cancel()
        self.learner_alive = False
        self.get_logger().warning(f"learner is silent; going on with actor version {self.server.version}")
        self._answer()

    def _on_sample(self, request, response):
        """One chunk for the observation in the request; nothing of the session changes."""
        try:
            observation = convert.from_msg(request.observation)
            ask = DecisionRequest(observation.stamp_ns, 0, 0, request.greedy)
            response.chunk = convert.to_msg(self.server.decide(ask, observation))
            response.ok = True
        except TmrlError as error:
            response.message = str(error)
        return response


def main():
    runtime.run(Policy)
