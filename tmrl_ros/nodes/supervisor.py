"""The sole publisher of robot commands: joins what belongs to a tick, steps the SupervisorCore, publishes the outcome.

In lockstep a tick waits for its parts and answers, and silence beyond `lockstep_timeout_s` holds. On a robot, or with
`real_time`, joint states thinned to `command_hz` make the ticks and nothing is waited for.
"""

import time
from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node

from tmrl_msgs.srv import ResetObjects
from tmrl_ros.config import SupervisorConfig
from tmrl_ros.errors import ActionError, DataError, TmrlError
from tmrl_ros.nodes import convert, diagnostics, runtime, topics
from tmrl_ros.nodes.operators import Operators
from tmrl_ros.supervisor import gates
from tmrl_ros.supervisor.core import SupervisorCore, tick_number
from tmrl_ros.supervisor.watchdog import Backlog, Watchdog
from tmrl_ros.types import Decision, DecisionRequest, Mode, ResetRequest, SessionState

STATUS_S = 0.5  # of robot time between two statuses where nothing changes
WATCH_S, LOOK_S = 0.01, 1.0  # of wall time: deadlines and who else commands; what to say of it
# Of what speaks all the time on a robot, the hand 15 times a second; of a person's device while it has the arm.
SILENCE_S = {"gripper": 0.5, "wrench": 0.15, "joy": 0.13}
SIGHT = "perception: observation"  # the status by which perception says that it cannot see
ROBOT = "franka: robot"  # and that by which the robot's mode and errors are told
UNATTENDED = "nobody attends to the session"
BACK_NS = 100_000_000  # by which joint states may come out of order and are passed over
SETTLE_S = 0.5  # of wall time from when everyone is there to the start: discovery goes both ways
PARTS = {"gripper": topics.GRIPPER_STATES, "wrench": topics.WRENCH, "task_state": topics.TASK_STATE, "joy": topics.JOY}


class Supervisor(Node):
    def __init__(self):
        super().__init__("supervisor", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, SupervisorConfig)
        self.core = SupervisorCore(self.config)
        self._timing, self._watchdog = self.config.timing, Watchdog()
        self._backlog = Backlog(1 / self._timing.command_hz)
        self._speaking: set[str] = set()
        self._arm, self._parts = None, {}  # the newest messages
        self._arm_ns = 0  # of the newest joint state that came when it should
        self._tick_ns, self._observing = -1, False  # of the tick that the core has
        self._open = ""  # what the tick in hand waits for, once the core has it
        self._reset_future, self._status, self._there_since_s = None, None, None
        self._trajectory = None  # advertised when the session may start: a simulation begins with it
        self._advertise()
        self._listen()
        self._serve()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WATCH_S, self._watch, clock=steady)
        self.create_timer(LOOK_S, self._look, clock=steady)

    def _advertise(self):
        self._diagnostics = diagnostics.Diagnostics(self)
        self._gripper = topics.GRIPPER_COMMAND.lossless(self._timing.waits).publisher(self)
        self._requests = topics.DECISION_REQUEST.lossless(self._timing.waits).publisher(self)
        self._decisions = topics.DECISION.publisher(self)
        self._events = topics.EPISODE_EVENT.publisher(self)
        self._statuses = topics.SESSION_STATUS.publisher(self)
        if not self.config.autostart:
            self._trajectory = topics.TRAJECTORY.lossless(self._timing.waits).publisher(self)

    def _listen(self):
        arm = topics.JOINT_STATES
        arm = arm.lossless(True) if self._timing.waits else arm._replace(qos=topics.NEWEST)
        arm.subscribe(self, self._on_arm)
        topics.ACTION_CHUNK.lossless(self._timing.waits).subscribe(self, self._on_chunk)
        for name, topic in PARTS.items():
            if name != "joy" or self.core.runner.source == Mode.TELEOP or not self._timing.waits:
                of = topic.sensed if name in SILENCE_S else topic.lossless
                of(self._timing.waits).subscribe(self, partial(self._on_part, name))
        topics.E_STOP.subscribe(self, self._on_emergency_stop)
        if not self._timing.waits and self.core.runner.source == Mode.POLICY:
            topics.POLICY_HEARTBEAT.subscribe(self, self._on_heartbeat)
        if not self._timing.waits:
            topics.DIAGNOSTICS.subscribe(self, self._on_diagnostics)
        self._reset_client = topics.RESET_OBJECTS.client(self)

    def _serve(self):
        end = partial(self.core.end, "the operator ended it")
        actions = {"start_session": self._start, "end_session": end, "resume": self._resume}
        actions["objects_placed"] = self.core.objects_placed
        self._operators = Operators(self, actions, self.core.label, self._publish_status)

    # ---- what comes in ----

    def _on_arm(self, message):
        stamp_ns = convert.stamp_of(message)
        if self._timing.waits:
            if stamp_ns <= self._tick_ns:
                return
        else:
            again = tick_number(stamp_ns, self._timing) == tick_number(self._tick_ns, self._timing)
            if stamp_ns == self._arm_ns or (not again and self._backlog.waited(stamp_ns, time.monotonic())):
                return  # neither is a sign that the robot is there now
            self._arm_ns = stamp_ns
            self._hear("franka/joint_states")
            if again:
                return
        self._arm = message
        for name in self._missing():
            self._expect(name)
        self._step_if_joined()

    def _on_part(self, name, message):
        self._parts[name] = message
        self._watchdog.arrived(name)
        if self._timing.waits:
            self._step_if_joined()
        elif name == "joy":
            self._expect(name)
            self._take_device(message)
        elif name in SILENCE_S:
            self._hear(name)

    def _take_device(self, message):
        """A device takes the arm at once, not at the next tick; its button `keep` also says that all is placed."""
        try:
            wish = convert.from_msg(message)
        except ActionError as error:  # while the policy acts, a broken device moves nothing
            return self.get_logger().error(f"joy: {error}", throttle_duration_sec=5.0)
        if wish.clutch:
            self.core.intervene()
        if wish.keep and self.core.asks:
            self.core.objects_placed()
        return None

    def _on_chunk(self, message):
        self._diagnostics.heard("action_chunk")
        try:
            chunk = convert.from_msg(message)
        except ActionError as error:
            self.core.hold(str(error))
        else:
            self._offer(chunk)
        if self.core.arbiter.latched:
            self._report()  # at once: the next tick may be 20 ms away
        if not self.core.awaits_chunk:
            self._answered("action_chunk")

    def _offer(self, chunk):
        try:
            self.core.offer(chunk)
        except ActionError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _on_objects(self, future):
        if future is not self._reset_future:
            return  # the answer to a reset that was given up
        response = future.result()
        if not response.ok:
            self.get_logger().error(f"reset_objects: {response.message}")
        self.core.objects_reset(response.ok)
        self._answered("reset_objects")

    def _on_emergency_stop(self, message):
        self.core.emergency_stop(message.data)
        self._report()

    def _on_heartbeat(self, message):
        self._hear("policy")
        try:
            if self.core.state == SessionState.RUNNING and self._tick_ns > 0:
                gates.check_sight(convert.stamp_of(message), self._tick_ns, self.config.limits)
        except ActionError as error:
            self._hold(str(error))

    def _on_diagnostics(self, message):
        """What perception says of its streams is said to the operator, rather than that observations are old.

        What the robot says of itself is a fault for as long as it says so.
        """
        for status in message.status:
            if not diagnostics.is_of(status, self.get_namespace()):
                continue
            if status.name == ROBOT and status.level in (diagnostics.OK, diagnostics.ERROR):
                self.core.robot_fault(status.message if status.level == diagnostics.ERROR else "")
                self._report()
            if status.name == SIGHT and status.level == diagnostics.ERROR and self.core.state == SessionState.RUNNING:
                self._hold(status.message)

    def _hear(self, source):
        """Of one that speaks all the time: from now on its silence holds."""
        self._speaking.add(source)
        self._expect(source)

    def _check_attended(self):
        if self.config.attended and self._operators.unattended():
            raise TmrlError(f"{UNATTENDED}; start `tmrl operate` first")

    def _start(self):
        self._check_attended()
        self.core.start()

    def _resume(self):
        """Who was silent has to speak again, or it holds once more."""
        self._check_attended()
        self.core.resume()
        for source in self._speaking:
            self._expect(source)

    def _hold(self, reason):
        if not self.core.arbiter.latched:
            self.core.hold(reason)
            self._report()

    # ---- a tick ----

    def _missing(self) -> list[str]:
        """Parts of the newest tick that are not there, where it waits for them."""
        now_ns = convert.stamp_of(self._arm)
        if not self._timing.waits or not self.core.observes(now_ns):
            return []
        names = ["gripper", "wrench", "task_state", *(["joy"] if self.core.runner.source == Mode.TELEOP else [])]
        return [n for n in names if n not in self._parts or convert.stamp_of(self._parts[n]) != now_ns]

    def _due(self) -> bool:
        """Whether there is a tick that the core has not had, and none that it has not finished.

        Where time is real a stamp from long before is one too: the core has to see that the clock went back.
        """
        if not self._arm or not self._trajectory or self._open:
            return False
        ahead_ns = convert.stamp_of(self._arm) - self._tick_ns
        return ahead_ns > 0 or (ahead_ns < -BACK_NS and not self._timing.waits)

    def _step_if_joined(self):
        if self._due() and not self._missing():
            self._step()

    def _step(self):
        self._tick_ns = convert.stamp_of(self._arm)
        self._observing = self.core.observes(self._tick_ns)
        try:
            robot = convert.robot_state_from(self._arm, self._parts["gripper"], self._parts["wrench"])
            task, teleop = self._part("task_state"), self._part("joy")
        except KeyError as name:
            return self.get_logger().warning(f"nothing heard from {name} yet", throttle_duration_sec=5.0)
        except (ActionError, DataError) as error:
            return self._refuse_tick(error)
        need = self.core.tick(robot, task, teleop)
        if isinstance(need, DecisionRequest):
            self._requests.publish(convert.to_msg(need))
            self._await("action_chunk")
        elif isinstance(need, ResetRequest):
            self._reset_future = self._reset_client.call_async(
                ResetObjects.Request(stream=need.stream, episode=need.episode)
            )
            self._await("reset_objects")
            self._reset_future.add_done_callback(self._on_objects)
        if not self._open:
            self._command()
        return None

    def _part(self, name):
        """The record of a part that belongs to this tick, or None; where nothing is waited for, of a recent one."""
        message = self._parts.get(name)
        if message is None or not self._observing:
            return None
        age_s = (self._tick_ns - convert.stamp_of(message)) * 1e-9
        return convert.from_msg(message) if self._timing.waits or age_s <= 0.2 else None

    def _refuse_tick(self, error):
        """A state that cannot be read holds; the arm runs out its last window."""
        self.get_logger().error(str(error), throttle_duration_sec=1.0)
        self.core.hold(str(error))
        self._report()

    def _await(self, source):
        self._expect(source)
        self._open = source if self._timing.waits else ""

    def _answered(self, source):
        self._watchdog.arrived(source)
        if self._open == source:
            self._open = ""
            self._command()
            self._step_if_joined()  # a simulation that lost patience is a tick ahead

    def _command(self):
        window, width_m = self.core.command()
        if self._observing:
            self._gripper.publish(convert.width_msg(window.stamp_ns, width_m))
        self._trajectory.publish(convert.to_msg(window))
        self._report()
        self._diagnostics.heard("command")
        if self.core.state == SessionState.ENDED:
            self._leave()

    # ---- what goes out besides ----

    def _report(self):
        for record in self.core.drain():
            publisher = self._decisions if isinstance(record, Decision) else self._events
            publisher.publish(convert.to_msg(record))
        self._publish_status()

    def _publish_status(self):
        new, old = self.core.status(), self._status
        if old and new.robot_time_s - old.robot_time_s < STATUS_S:
            changed = (new.state, new.mode, new.reason, new.episodes) != (old.state, old.mode, old.reason, old.episodes)
            if not changed:
                return
        self._status = new
        self._statuses.publish(convert.to_msg(new))
        if new.reason and (not old or new.reason != old.reason):
            if new.state == SessionState.ENDED:
                self.get_logger().info(f"the session ended: {new.reason}")
            else:
                self.get_logger().warning(f"{new.mode.name}: {new.reason}")

    def _leave(self):
        """The session is over: see that everyone has the last records, then end the process."""
        for publisher in (self._decisions, self._events, self._statuses):
            publisher.wait_for_all_acked(Duration(seconds=1))
        raise SystemExit(0)

    # ---- wall time ----

    def _expect(self, source):
        limits = self.config.limits
        own_s = {"franka/joint_states": limits.state_timeout_s, "policy": limits.heartbeat_timeout_s, **SILENCE_S}
        limit_s = own_s.get(source, limits.command_timeout_s)
        if self._timing.waits or source == "reset_objects":
            limit_s = self._timing.lockstep_timeout_s
        if self._timing.waits and source == "action_chunk":
            limit_s *= 2  # the policy itself waits so long for a learner before it goes on without
        self._watchdog.expect(source, time.monotonic(), limit_s)

    def _watch(self):
        if self._trajectory is None:
            self._start_when_all_are_there()
        elif self.count_publishers(topics.TRAJECTORY.name) > 1:  # no arbiter can settle that: stand still
            self._hold(f"another node publishes on {topics.TRAJECTORY.name}; stop it")
        lost = self._operators.lost()
        if self.config.attended and self.core.state == SessionState.RUNNING and self._operators.unattended():
            self._hold(f"the operator {lost!r} is silent: {UNATTENDED}" if lost else UNATTENDED)
        for source in self._watchdog.overdue(time.monotonic()):
            if source == "joy" and not self._timing.waits:
                if self.core.arbiter.mode != Mode.TELEOP:
                    continue  # it moves nothing
                source = "the teleoperation device"
            self.core.silence(source)
            self._report()
            if self._open == source:
                self._answered(source)
            elif self._timing.waits and self._due():
                self._step()

    def _look(self):
        status = self.core.status()
        level = {Mode.FAULT: diagnostics.ERROR, Mode.HOLD: diagnostics.WARN}.get(status.mode, diagnostics.OK)
        said = status.reason or f"{status.state.name.lower()}, {status.mode.name}"
        self._diagnostics.say(level if status.reason else diagnostics.OK, said)

    def _start_when_all_are_there(self):
        absent, now_s = self._absent(), time.monotonic()
        if absent:
            self._there_since_s = None
            self.get_logger().warning(f"waiting for {', '.join(absent)}", throttle_duration_sec=10.0, skip_first=True)
            return
        self._there_since_s = self._there_since_s or now_s
        if now_s - self._there_since_s < SETTLE_S:
            return
        try:
            if self.core.arbiter.latched and self.core.arbiter.mode != Mode.FAULT:
                self._resume()  # what fell silent before anything ran; it holds again if it still is
            self._start()
        except TmrlError as error:  # a fault, of which a person has to resume
            return self.get_logger().warning(f"waiting: {error}", throttle_duration_sec=10.0)
        self._trajectory = topics.TRAJECTORY.lossless(self._timing.waits).publisher(self)

    def _absent(self) -> list[str]:
        """What a session still lacks: nodes that listen, someone who decides, an arm, a hand, and who resets."""
        decides = topics.JOY if self.core.runner.source == Mode.TELEOP else topics.ACTION_CHUNK
        there = {
            **{name: self._listens(name) for name in self.config.needs.split()},
            f"a publisher of {decides.name}": self.count_publishers(decides.name) > 0,
            f"a subscriber of {topics.TRAJECTORY.name}": self.count_subscribers(topics.TRAJECTORY.name) > 0,
            f"a subscriber of {topics.GRIPPER_COMMAND.name}": self._gripper.get_subscription_count() > 0,
            f"the service {topics.RESET_OBJECTS.name}": self.config.placing != "service"
            or self._reset_client.service_is_ready(),
        }
        return [name for name, is_there in there.items() if not is_there]

    def _listens(self, name) -> bool:
        """Whether a node of this name has subscribed to anything of the session."""
        try:
            heard = self.get_subscriber_names_and_types_by_node(name, self.get_namespace())
        except RuntimeError:  # rclpy's NodeNameNonExistentError: not there yet
            return False
        return any(kinds[0].startswith(("tmrl_msgs/", "sensor_msgs/", "geometry_msgs/")) for _, kinds in heard)


def main():
    runtime.run(Supervisor)
