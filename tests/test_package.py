"""What colcon, rosdep and a reader of the package find: metadata, console scripts, messages, tables that agree."""

import ast
import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from tmrl_ros import __version__, fr3
from tmrl_ros.config import RecoveryConfig
from tmrl_ros.session.graph import MODELS

ROOT = Path(__file__).parents[1]
NODES = ROOT / "tmrl_ros" / "nodes"


def tree(path):
    return ET.parse(ROOT / path).getroot()


def assigned(path, name):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} assigns no {name}")


def test_every_node_of_the_graph_has_a_console_script_and_a_main():
    assert set(assigned("setup.py", "NODES")) == set(MODELS)
    for name in MODELS:
        functions = {
            n.name for n in ast.parse((NODES / f"{name}.py").read_text()).body if isinstance(n, ast.FunctionDef)
        }
        assert "main" in functions, f"{name}.py has no main()"


def test_what_launch_and_config_hold_is_installed():
    text = (ROOT / "setup.py").read_text()
    for folder, names in (("launch", "*.launch.py"), ("config", "*.yaml")):
        assert f'(f"share/{{PACKAGE}}/{folder}", glob("{folder}/{names}"))' in text
        files = {path for path in (ROOT / folder).iterdir() if path.is_file()}
        assert files == set((ROOT / folder).glob(names)), f"{folder} holds what setup.py leaves out"


def test_the_controllers_file_has_a_type_for_every_needed_controller_and_gains_for_every_joint():
    file = yaml.safe_load((ROOT / "config/controllers.yaml").read_text())
    manager, own = (
        file[f"/**/{node}"]["ros__parameters"] for node in ("controller_manager", "joint_trajectory_controller")
    )
    assert manager["update_rate"] == 1000
    assert {name for name, entry in manager.items() if "type" in str(entry)} == set(RecoveryConfig().controllers)
    assert own["type"] == manager["joint_trajectory_controller"]["type"]
    assert own["command_interfaces"] == ["effort"] and own["state_interfaces"] == ["position", "velocity"]
    assert tuple(own["joints"]) == tuple(own["gains"]) == fr3.JOINT_NAMES
    assert all(gains["p"] > gains["d"] > 0 for gains in own["gains"].values())


@pytest.mark.parametrize("path", ["package.xml", "tmrl_msgs/package.xml"])
def test_package_xml_is_format_3_with_licence_and_maintainer(path):
    root = tree(path)
    assert root.get("format") == "3"
    assert root.findtext("version") == __version__
    assert root.findtext("license") == "MIT"
    assert "." in root.find("maintainer").get("email").partition("@")[2]


def test_versions_agree():
    assert f'version="{__version__}"' in (ROOT / "setup.py").read_text()


def test_package_xml_names_every_ros_package_that_a_module_cannot_do_without():
    named = {entry.text for entry in tree("package.xml").iter("exec_depend")}
    sources = [*NODES.glob("*.py"), *(ROOT / "launch").glob("*.py"), ROOT / "tmrl_ros/session/launching.py"]
    for source in sources:
        for match in re.finditer(r"^(?:from|import) (\w+)", source.read_text(), re.M):
            top = match[1]
            ros = top in ("rclpy", "launch", "launch_ros", "builtin_interfaces", "std_srvs") or top.endswith("_msgs")
            assert not ros or top in named, f"{source.name} imports {top}, which package.xml does not name"


def test_the_message_package_names_every_package_its_fields_come_from():
    named = {entry.text for entry in tree("tmrl_msgs/package.xml").iter("depend")}
    built = (ROOT / "tmrl_msgs/CMakeLists.txt").read_text()
    files = [*ROOT.glob("tmrl_msgs/msg/*.msg"), *ROOT.glob("tmrl_msgs/srv/*.srv")]
    assert files
    for file in files:
        for package in re.findall(r"^(\w+)/\w+", file.read_text(), re.M):
            assert package in named, f"{file.name} uses {package}"
            assert f"find_package({package} REQUIRED)" in built


def test_every_message_says_what_it_is_and_every_number_its_meaning():
    for file in [*ROOT.glob("tmrl_msgs/msg/*.msg"), *ROOT.glob("tmrl_msgs/srv/*.srv")]:
        lines = file.read_text().splitlines()
        assert lines[0].startswith("# "), f"{file.name} begins with no comment"
        for line in lines:
            if re.match(r"float(32|64)\b", line):
                assert "#" in line, f"{file.name}: {line} has no comment"


def test_requirements_are_pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    loose = [line for line in lines if line and not line.startswith("#") and "==" not in line]
    assert not loose


def pins(path):
    """What is asked of each package, by name."""
    lines = (ROOT / path).read_text().splitlines()
    return dict(re.match(r"([\w-]+).*?([=<]=?.*?)(?:\s|$)", line).groups() for line in lines if re.match(r"\w", line))


def test_jazzy_differs_from_the_index_only_where_numpy_1_makes_it():
    index, jazzy = pins("requirements.txt"), pins("requirements-jazzy.txt")
    assert jazzy["numpy"] == "<2"
    ours = {name for name in index if not name.startswith(("ros-", "colcon-", "catkin-")) and name != "ninja"}
    assert set(jazzy) == ours
    assert {name for name in ours if index[name] != jazzy[name]} == {
        *("numpy", "opencv-python-headless", "pyarrow", "zarr")
    }


def test_the_image_installs_what_the_guide_does_and_a_container_finds_its_work_again():
    image, compose = (ROOT / "docker/Dockerfile").read_text(), (ROOT / "docker/compose.yaml").read_text()
    assert "pip install --no-cache-dir -r requirements-jazzy.txt" in image
    assert "pip install -r src/tmrl_ros/requirements-jazzy.txt" in (ROOT / "docs/robot.md").read_text()
    assert "WORKDIR /work\n" in image and "}:/work\n" in compose
    assert "/dev/bus/usb:/dev/bus/usb" in compose and "c 189:* rmw" in compose


def test_colcon_puts_tmrl_on_the_path():
    installed = (ROOT / "setup.py").read_text()
    for hook in json.loads((ROOT / "colcon.pkg").read_text())["hooks"]:
        file = ROOT / "hook" / Path(hook).name
        assert "share/tmrl_ros/bin" in file.read_text() and f'"hook/{file.name}"' in installed
    assert os.access(ROOT / "hook/tmrl", os.X_OK)


def test_ci_calls_make_test():
    assert (ROOT / ".ci/run").read_text().split("\n")[-2].endswith("make test")


def test_the_architecture_names_every_topic_and_service():
    topics = pytest.importorskip("tmrl_ros.nodes.topics")
    text = (ROOT / "docs/architecture.md").read_text()
    entries = [e for e in vars(topics).values() if isinstance(e, topics.Topic | topics.Service)]
    missing = [e.name for e in entries if e.name.split("/")[-1] not in text]
    assert entries and not missing
