"""What a Franka has beside its joints: the hand's goals, its mode and errors, and the way out of a reflex.

The status "franka: robot" on /diagnostics is ERROR while the arm must not be commanded, and the supervisor holds with
its message. `recover` is for a person who has looked: it never begins by itself. "franka: hand" says how goals fare.
"""

import time

from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from std_srvs.srv import Trigger

from tmrl_ros.config import FrankaConfig
from tmrl_ros.errors import ActionError, TmrlError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.diagnostics import ERROR, OK, WARN
from tmrl_ros.nodes.franka_actions import HANDS, Asked, MissingPackage, optional
from tmrl_ros.nodes.franka_driver import Driver
from tmrl_ros.nodes.stream_diagnostics import StreamDiagnostics
from tmrl_ros.robot.franka_hand import HandGoals
from tmrl_ros.robot.franka_recovery import Recovery, Step

LOOK_S = 0.02  # of wall time: the robot says its state a thousand times a second, one in 20 ms is read
ROBOT_STATE = "franka_robot_state_broadcaster/robot_state"
RECOVER = topics.Service("recover", Trigger)
ROBOT, HAND, DRIVER = "robot", "hand", "driver"  # statuses
UNSEEN = "the robot's mode and errors cannot be read and nothing can be recovered from"


class Franka(Node):
    def __init__(self):
        super().__init__("franka", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, FrankaConfig)
        self._said = StreamDiagnostics(self)
        self._goals, self._recovery = HandGoals(self.config.goals), Recovery(self.config.recovery)
        self._newest, self._heard_s, self._fault, self._outcome = None, None, "", ""
        self._said.expect(ROBOT)
        self._said.expect(HAND)
        self._hand = self._with(HAND, lambda: HANDS[self.config.hand](self, self.config.goals, self._on_hand_ended))
        self._state_type, self._recovering, self._asked = None, None, Asked(self._on_recovered)
        self._with(ROBOT, self._listen_to_robot)
        controllers = self.config.recovery.controllers
        self._driver = self._with(DRIVER, lambda: Driver(self, controllers, self._on_driven))
        topics.GRIPPER_COMMAND.subscribe(self, self._on_width)
        topics.EPISODE_EVENT.subscribe(self, self._on_event)
        RECOVER.serve(self, self._on_recover)
        self.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _with(self, status, make):
        """What `make` makes, or None where an optional package is missing, which is said for as long."""
        try:
            return make()
        except MissingPackage as error:
            self._said.expect(status)
            self._said.judge(status, ERROR if status == HAND else WARN, str(error))
            self.get_logger().warning(str(error))
            return None

    def _listen_to_robot(self):
        self._state_type = optional("franka_msgs.msg", UNSEEN).FrankaRobotState
        self._recovery_type = optional("franka_msgs.action", UNSEEN).ErrorRecovery
        self._recovering = ActionClient(self, self._recovery_type, "action_server/error_recovery")
        self.create_subscription(self._state_type, ROBOT_STATE, self._on_state, qos_profile_sensor_data, raw=True)

    # ---- what comes in ----

    def _on_state(self, serialised):
        self._newest = serialised
        self._said.heard(ROBOT)

    def _on_width(self, message):
        self._said.heard(HAND)
        try:
            self._goals.want(convert.width_from(message))
        except ActionError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _on_event(self, message):
        if message.kind == "started":
            self._recovery.episode_began(message.episode)

    def _on_hand_ended(self, problem):
        self._goals.ended(problem)
        self._say_hand()

    def _on_recover(self, _, response):
        """Answers at once: how it went is the node's own status on /diagnostics."""
        try:
            if self._recovering is None:
                raise TmrlError(f"franka_msgs is not installed: {UNSEEN}; recover in Desk")
            now_s = time.monotonic()
            self._recovery.confirm(now_s, self._recovering.server_is_ready(), self._silent_s(now_s) > 0)
        except TmrlError as error:
            response.message = str(error)
            return response
        self._asked.send(self._recovering, self._recovery_type.Goal())
        response.success, response.message = True, "recovering"
        return response

    def _on_recovered(self, problem):
        self._recovery.answered(problem, time.monotonic())
        if self._recovery.step == Step.DRIVER:
            self._driver.activate() if self._driver else self._on_driven("")
        self._say_recovery()

    def _on_driven(self, problem):
        self._recovery.driven(problem, time.monotonic())
        self._say_recovery()

    # ---- on time ----

    def _look(self):
        now_s = time.monotonic()
        self._read_state(now_s)
        self._recovery.watch(now_s)
        self._say_recovery()
        if self._hand is None:
            return
        before = self._goals.problem
        if goal := self._goals.step(now_s, self._hand.ready):
            self._hand.send(goal)
        if self._goals.unwanted:
            self._hand.cancel()
        if self._goals.problem != before:
            self._say_hand()

    def _read_state(self, now_s):
        serialised, self._newest = self._newest, None
        if serialised is not None:
            self._heard_s = now_s
            state = deserialize_message(serialised, self._state_type)
            self._recovery.hear(state.robot_mode, convert.errors_from(state))
            self._say_robot(self._recovery.fault)
        elif (silent_s := self._silent_s(now_s)) and not self._fault:
            self._said.judge(
                ROBOT, WARN, f"its state is silent for {silent_s:.0f} s; if its driver stopped, call recover"
            )

    def _silent_s(self, now_s) -> float:
        """For how long nothing was heard of the robot's state, or 0 while it is not long, or was never heard."""
        silent_s = now_s - self._heard_s if self._heard_s else 0.0
        return silent_s if silent_s > self.config.silence_s else 0.0

    def _say_robot(self, fault):
        """The beginning and the end of a fault are told at once."""
        if fault != self._fault:
            self._said.tell(ROBOT, ERROR if fault else OK, fault or "no error")
            self.get_logger().error(fault) if fault else self.get_logger().info("the robot reports no error")
        self._said.judge(ROBOT, ERROR if fault else OK, fault)
        self._fault = fault

    def _say_hand(self):
        problem = self._goals.problem
        self._said.tell(HAND, ERROR if problem else OK, problem or "the goal was reached")
        if problem:
            self.get_logger().error(problem)

    def _say_recovery(self):
        outcome = self._recovery.outcome
        if outcome != self._outcome:
            self._outcome = outcome
            self._said.say(OK if self._recovery.succeeded else ERROR, outcome)
            self.get_logger().info(outcome)


def main():
    runtime.run(Franka)
