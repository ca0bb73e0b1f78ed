"""The launch files give the graph's nodes: stand-ins for launch remember what they were made with."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.session.graph import ReplayOptions, RobotOptions, SessionOptions, node_names

LAUNCH = Path(__file__).parents[1] / "launch"
KINDS = ("collect", "evaluate", "finetune")
MODULES = ("launch", "launch.actions", "launch.launch_description_sources", "launch.substitutions")
MODULES += ("launch_ros", "launch_ros.actions", "launch_ros.substitutions")


class Action:
    """Any class of launch: remembers what it was made with."""

    def __init__(self, *values, **options):
        self.values, self.options = values, options

    def perform(self, context):
        return context[self.values[0]]


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    for name in MODULES:
        module = ModuleType(name)
        module.__getattr__ = lambda attribute: type(attribute, (Action,), {})
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "tmrl_ros.session.launching", raising=False)
    yield
    sys.modules.pop("tmrl_ros.session.launching", None)


def named(actions, kind):
    return [action for action in actions if type(action).__name__ == kind]


def describe(kind):
    """(declared arguments, the function that starts the nodes) of a launch file."""
    (actions,) = runpy.run_path(str(LAUNCH / f"{kind}.launch.py"))["generate_launch_description"]().values
    (opaque,) = named(actions, "OpaqueFunction")
    return named(actions, "DeclareLaunchArgument"), lambda context: opaque.options["function"](
        context, *opaque.options["args"]
    )


def started(kind, tmp_path, **words):
    declared, start = describe(kind)
    context = {argument.values[0]: argument.options["default_value"] for argument in declared}
    return start({**context, "run_dir": str(tmp_path / "run"), "base": str(tmp_path), **words})


def test_there_is_one_launch_file_for_each_session_one_for_bags_and_one_for_the_robot():
    names = [f"{kind}.launch.py" for kind in (*KINDS, "replay", "robot")]
    assert sorted(path.name for path in LAUNCH.glob("*.py")) == names


def test_a_replay_starts_the_chosen_nodes_and_ends_with_its_player(tmp_path):
    declared, _ = describe("replay")
    assert [argument.values[0] for argument in declared] == list(ReplayOptions.model_fields)
    assert all(argument.options["description"] for argument in declared)
    with BagWriter(tmp_path / "recorded"):
        pass
    words = {"bag": str(tmp_path / "recorded"), "nodes": "policy,recorder", "rate": "5"}
    nodes = named(started("replay", tmp_path, **words), "Node")
    assert [node.options["executable"] for node in nodes] == ["policy", "recorder", "player"]
    assert [node.options["parameters"][1]["use_sim_time"] for node in nodes] == [True, True, False]
    assert "on_exit" in nodes[-1].options
    assert "rate: 5.0" in (tmp_path / "run/parameters.yaml").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_an_argument_with_description_and_default(kind):
    declared, _ = describe(kind)
    assert [argument.values[0] for argument in declared] == list(SessionOptions.model_fields)
    assert all(argument.options["description"] for argument in declared)
    choices = {argument.values[0]: argument.options.get("choices") for argument in declared}
    assert choices["sim"] == ["true", "false"]
    assert choices["controller"] == ["trajectory", "crisp"]
    assert choices["task"] is None, "a robot learns what it is shown, whatever its name"


@pytest.mark.parametrize("kind", KINDS)
def test_the_nodes_are_those_of_the_graph(kind, tmp_path):
    nodes = named(started(kind, tmp_path, namespace="left"), "Node")
    assert [node.options["executable"] for node in nodes] == node_names(kind, SessionOptions())
    assert {node.options["namespace"] for node in nodes} == {"left"}
    file = Path(nodes[0].options["parameters"][0])
    assert all(f"/**/{node.options['name']}:" in file.read_text() for node in nodes)


def test_the_learner_respawns_and_the_end_of_any_other_node_ends_the_launch(tmp_path):
    for node in named(started("finetune", tmp_path), "Node"):
        learner = node.options["name"] == "learner"
        assert node.options.get("respawn", False) == learner
        assert ("on_exit" in node.options) != learner


def brought_up(actions):
    """franka_bringup's arguments, and the nodes beside it."""
    (bringup,) = named(actions, "IncludeLaunchDescription")
    return dict(bringup.options["launch_arguments"]), [node.options for node in named(actions, "Node")]


def test_a_session_starts_the_robot_that_it_is_given_and_none_other(tmp_path):
    assert not named(started("collect", tmp_path, sim="false"), "IncludeLaunchDescription")
    given, nodes = brought_up(started("collect", tmp_path, sim="false", robot_ip="172.16.0.2", namespace="left"))
    assert (given["robot_ip"], given["robot_type"], given["namespace"]) == ("172.16.0.2", "fr3", "left")
    assert nodes[0]["package"] == "controller_manager" and nodes[0]["namespace"] == "left"


@pytest.mark.parametrize("start", [("collect", {"sim": "false"}), ("robot", {})])
def test_a_robot_comes_with_its_hand_and_a_trajectory_controller_whose_type_is_known(start, tmp_path):
    kind, words = start
    given, (spawner, *_) = brought_up(started(kind, tmp_path, robot_ip="172.16.0.2", **words))
    assert given["load_gripper"] == "true"
    assert Path(given["controllers_yaml"]) == LAUNCH.parent / "config/controllers.yaml"
    assert spawner["arguments"] == ["joint_trajectory_controller", "--param-file", given["controllers_yaml"]]


def test_the_robot_starts_alone_with_franka_bringups_arguments(tmp_path):
    declared, _ = describe("robot")
    assert [argument.values[0] for argument in declared] == list(RobotOptions.model_fields)
    assert all(argument.options["description"] for argument in declared)
    words = {"use_fake_hardware": "true", "load_gripper": "false", "controllers_yaml": "own.yaml", "robot_type": "fp3"}
    given, nodes = brought_up(started("robot", tmp_path, **words))
    assert {name: given[name] for name in words} == words
    assert [node["executable"] for node in nodes] == ["spawner"]
    assert not brought_up(started("robot", tmp_path, robot_ip="172.16.0.2", controller="crisp"))[1]
    with pytest.raises(ConfigError, match="robot_ip is empty"):
        started("robot", tmp_path)


def test_the_cameras_of_a_cell_start_with_its_robot_where_they_are_asked_for(tmp_path):
    cell = tmp_path / "cell.yaml"
    cell.write_text('/**/realsense: {ros__parameters: {cameras.front.serial: "1"}}\n')
    words = {"robot_ip": "172.16.0.2", "namespace": "left", "params_file": str(cell)}
    assert len(brought_up(started("robot", tmp_path, **words))[1]) == 1
    _, (_, camera) = brought_up(started("robot", tmp_path, camera="true", **words))
    assert (camera["package"], camera["executable"], camera["name"]) == ("tmrl_ros", "realsense", "realsense")
    assert (camera["namespace"], camera["parameters"]) == ("left", [str(cell)])
    cell.write_text("/**/perception: {ros__parameters: {cameras.front.width_px: 64}}\n")
    with pytest.raises(ConfigError, match="names cameras"):
        started("robot", tmp_path, camera="true", **words)


def test_a_used_run_dir_is_refused_and_the_parameters_of_its_session_stay(tmp_path):
    run = tmp_path / "run"
    (run / "bag").mkdir(parents=True)
    (run / "parameters.yaml").write_text("of the session\n")
    with pytest.raises(DataError, match=r"bag .* already exists; choose another run_dir or remove it"):
        started("collect", tmp_path)
    assert (run / "parameters.yaml").read_text() == "of the session\n"


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="ros2 launch is not installed")
@pytest.mark.parametrize(("kind", "options"), [*((kind, SessionOptions) for kind in KINDS), ("robot", RobotOptions)])
def test_the_real_launch_takes_them(kind, options, monkeypatch):
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tmrl_ros.session.launching", raising=False)
    description = runpy.run_path(str(LAUNCH / f"{kind}.launch.py"))["generate_launch_description"]()
    assert [argument.name for argument in description.get_launch_arguments()] == list(options.model_fields)
