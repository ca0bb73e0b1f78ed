"""The node graphs as launch descriptions, for `ros2 launch`; launch/*.launch.py import it where ROS 2 is installed."""

from collections.abc import Sequence
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from tmrl_ros.config import Model, validate
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes.niceness import NICE
from tmrl_ros.parameters import write_parameters
from tmrl_ros.session import resume
from tmrl_ros.session.arguments import Argument, arguments
from tmrl_ros.session.graph import (
    Kind,
    NodeSpec,
    ReplayOptions,
    RobotOptions,
    SessionOptions,
    build,
    build_replay,
    check_folders,
    section,
    shipped,
)

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MUJOCO_GL": "egl"}


def describe(kind: Kind) -> LaunchDescription:
    """One session: its arguments, and the nodes that follow from them."""
    return _description(SessionOptions, _start, [kind])


def describe_replay() -> LaunchDescription:
    """A bag played into some nodes; it ends with the bag."""
    return _description(ReplayOptions, _start_replay, [])


def describe_robot() -> LaunchDescription:
    """The robot's driver and controllers, and its cameras, which sessions come and go beside."""
    return _description(RobotOptions, _start_robot, [])


def _description(model: type[Model], start, args: list) -> LaunchDescription:
    return LaunchDescription([*map(_declaration, arguments(model)), OpaqueFunction(function=start, args=args)])


def _declaration(argument: Argument) -> DeclareLaunchArgument:
    choices = {"choices": list(argument.choices)} if argument.choices else {}
    return DeclareLaunchArgument(
        argument.name, default_value=argument.default, description=argument.description, **choices
    )


def _start(context, kind: Kind) -> list:
    options = _options(context, SessionOptions)
    return [*_robot(options), *_nodes(build(kind, options), options)]


def _start_replay(context) -> list:
    options = _options(context, ReplayOptions)
    return _nodes(build_replay(options), options)


def _start_robot(context) -> list:
    options = _options(context, RobotOptions)
    if not (options.robot_ip or options.use_fake_hardware):
        raise ConfigError("robot_ip is empty; name the robot, robot_ip:=172.16.0.2, or say use_fake_hardware:=true")
    return [*_bringup(options), *_cameras(options)]


def _options(context, model: type[Model]) -> Model:
    return validate(model, {entry.name: LaunchConfiguration(entry.name).perform(context) for entry in arguments(model)})


def _nodes(specs: Sequence[NodeSpec], options: SessionOptions | ReplayOptions) -> list[Node]:
    """The nodes with their parameters, which stand in `run_dir` too."""
    check_folders(specs)  # before a session's parameters that stand there are gone
    parameters, values = Path(options.run_dir).resolve() / "parameters.yaml", {s.name: s.parameters for s in specs}
    if resume.is_resumed(values):
        resume.check_parameters(parameters, values)
    write_parameters(parameters, values)
    return [_node(spec, parameters, options.namespace) for spec in specs]


def _node(spec: NodeSpec, parameters: Path, namespace: str) -> Node:
    """A node that may restart does; the end of any other ends the session."""
    ending = {"respawn": True, "respawn_max_retries": spec.restarts}
    if not spec.restarts:
        ending = {"on_exit": Shutdown(reason=f"{spec.name} ended")}
    return Node(
        package="tmrl_ros",
        executable=spec.name,
        name=spec.name,
        namespace=namespace,
        parameters=[str(parameters), {"use_sim_time": spec.use_sim_time}],
        additional_env=ONE_THREAD,
        output="screen",
        prefix=f"nice -n {NICE[spec.name]}" if spec.name in NICE else None,  # from its imports on
        **ending,
    )


def _robot(options: SessionOptions) -> list:
    """The robot, where a session is asked to start it; else it runs already."""
    if options.sim or not (options.robot_ip or options.use_fake_hardware):
        return []
    shared = {name: getattr(options, name) for name in ("robot_ip", "use_fake_hardware", "namespace", "controller")}
    return _bringup(RobotOptions(**shared))


def _bringup(options: RobotOptions) -> list:
    """franka_bringup, which spawns the broadcasters, and the trajectory controller; CRISP's have their own names."""
    values = {name: getattr(options, name) for name in ("robot_type", "robot_ip", "namespace")}
    values |= {name: str(getattr(options, name)).lower() for name in ("use_fake_hardware", "load_gripper")}
    values["controllers_yaml"] = options.controllers_yaml or str(shipped("controllers.yaml"))
    file = PathJoinSubstitution([FindPackageShare("franka_bringup"), "launch", "franka.launch.py"])
    bringup = IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=values.items())
    spawner = Node(
        package="controller_manager",
        executable="spawner",
        namespace=options.namespace,
        arguments=["joint_trajectory_controller", "--param-file", values["controllers_yaml"]],
    )
    return [bringup, spawner] if options.controller == "trajectory" else [bringup]


def _cameras(options: RobotOptions) -> list[Node]:
    if not options.camera:
        return []
    if not section("realsense", options.params_file).cameras:
        raise ConfigError("camera:=true needs a params_file whose section realsense names cameras")
    return [
        Node(
            package="tmrl_ros",
            executable="realsense",
            name="realsense",
            namespace=options.namespace,
            parameters=[options.params_file],
            output="screen",
        )
    ]
