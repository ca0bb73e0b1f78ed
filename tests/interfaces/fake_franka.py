"""A Franka's actions, state and ros2_control as a process: told by lines on stdin, telling by JSON on stdout.

mode NUMBER [ERROR ...]      what robot_state says from now on
hand SECONDS [PROBLEM]       how long a goal takes from now on, and how it fails
recovery yes|no|never        how error_recovery answers from now on; yes clears the errors
stop                         driver and controllers are stopped, as by an error: the state is silent while they are
driver yes|no|never          how the controller manager answers from now on when it is to make the driver active
"""

import contextlib
import json
import sys
import threading
import time

import rclpy
from control_msgs.action import GripperCommand
from controller_manager_msgs import srv
from controller_manager_msgs.msg import ControllerState, HardwareComponentState
from franka_msgs.action import ErrorRecovery, Grasp, Move
from franka_msgs.msg import FrankaRobotState
from lifecycle_msgs.msg import State
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

STATE_HZ = 200
DRIVER, BROADCASTER = "FrankaHardwareInterface", "franka_robot_state_broadcaster"
CONTROLLERS = ("joint_state_broadcaster", BROADCASTER, "joint_trajectory_controller")
ACTIVE, STOPPED = State(id=3, label="active"), State(id=1, label="unconfigured")


class FakeFranka(Node):
    def __init__(self):
        super().__init__("fake_franka")
        self.mode, self.errors, self.hand_s, self.problem, self.recovery = 1, [], 0.05, "", "yes"
        self._state = self.create_publisher(FrankaRobotState, "franka_robot_state_broadcaster/robot_state", 10)
        self.timer = self.create_timer(1 / STATE_HZ, self._publish)
        self._servers = [
            self._serve(Move, "franka_gripper/move", lambda g: {"width": g.width}),
            self._serve(Grasp, "franka_gripper/grasp", lambda g: {"width": g.width, "force": g.force}),
            self._serve(
                GripperCommand,
                "franka_gripper/gripper_action",
                lambda g: {"position": g.command.position, "effort": g.command.max_effort},
            ),
            self._serve(ErrorRecovery, "action_server/error_recovery", lambda g: {}),
        ]
        self.driver, self.running, self.answer = ACTIVE, set(CONTROLLERS), "yes"
        for kind, name, callback in (
            (srv.ListHardwareComponents, "list_hardware_components", self._components),
            (srv.SetHardwareComponentState, "set_hardware_component_state", self._set_component),
            (srv.ListControllers, "list_controllers", self._controllers),
            (srv.SwitchController, "switch_controller", self._switch),
        ):
            self.create_service(kind, f"controller_manager/{name}", callback, callback_group=ReentrantCallbackGroup())

    def _serve(self, kind, name, fields):
        return ActionServer(
            self, kind, name, lambda handle: self._execute(kind, name, fields, handle),
            cancel_callback=lambda _: CancelResponse.ACCEPT, callback_group=ReentrantCallbackGroup(),
        )  # fmt: skip

    def _components(self, _, response):
        response.component = [HardwareComponentState(name=DRIVER, state=self.driver)]
        return response

    def _set_component(self, request, response):
        while self.answer == "never" and rclpy.ok():
            time.sleep(0.01)
        response.ok = self.answer == "yes" and request.name == DRIVER
        self.driver = response.state = request.target_state if response.ok else STOPPED
        return response

    def _controllers(self, _, response):
        states = {name: "active" if name in self.running else "inactive" for name in CONTROLLERS}
        response.controller = [ControllerState(name=name, state=state) for name, state in states.items()]
        return response

    def _switch(self, request, response):
        response.ok = self.driver.id == ACTIVE.id and request.strictness == request.STRICT
        self.running |= set(request.activate_controllers) if response.ok else set()
        tell(activated=sorted(request.activate_controllers))
        return response

    def _publish(self):
        if BROADCASTER not in self.running:
            return
        message = FrankaRobotState(robot_mode=self.mode)
        for name in self.errors:
            setattr(message.current_errors, name, True)
        self._state.publish(message)

    def _execute(self, kind, name, fields, handle):
        tell(goal=name, at_s=time.monotonic(), **fields(handle.request))
        if kind is ErrorRecovery:
            return self._recover(handle)
        end_s = time.monotonic() + self.hand_s
        while time.monotonic() < end_s:
            if handle.is_cancel_requested:
                handle.canceled()
                tell(cancelled=name)
                return kind.Result()
            time.sleep(0.005)
        (handle.abort if self.problem else handle.succeed)()
        if kind is GripperCommand:
            return kind.Result(reached_goal=not self.problem)
        return kind.Result(success=not self.problem, error=self.problem)

    def _recover(self, handle):
        while self.recovery == "never" and rclpy.ok():
            time.sleep(0.01)
        if self.recovery == "yes":
            self.mode, self.errors = 1, []
            handle.succeed()
        else:
            handle.abort()
        return ErrorRecovery.Result()

    def listen(self):
        for line in sys.stdin:
            word, *values = line.split()
            if word == "mode":
                self.errors, self.mode = values[1:], int(values[0])
            elif word == "hand":
                self.hand_s, self.problem = float(values[0]), " ".join(values[1:])
            elif word == "recovery":
                self.recovery = values[0]
            elif word == "stop":
                self.driver, self.running = STOPPED, set()
            elif word == "driver":
                self.answer = values[0]
            tell(done=line.strip())
        rclpy.try_shutdown()


def tell(**values):
    print(json.dumps(values), flush=True)


def main():
    rclpy.init()
    node = FakeFranka()
    threading.Thread(target=node.listen, daemon=True).start()
    executor = MultiThreadedExecutor(4)
    executor.add_node(node)
    tell(ready=True)
    with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        executor.spin()


if __name__ == "__main__":
    main()
