"""What colcon, rosdep and a reader of the package find: metadata, console scripts, messages, tables that agree."""

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tmrl_ros import __version__
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


def test_ci_calls_make_test():
    assert (ROOT / ".ci/run").read_text().split("\n")[-2].endswith("make test")


def test_the_architecture_names_every_topic_and_service():
    topics = pytest.importorskip("tmrl_ros.nodes.topics")
    text = (ROOT / "docs/architecture.md").read_text()
    entries = [e for e in vars(topics).values() if isinstance(e, topics.Topic | topics.Service)]
    missing = [e.name for e in entries if e.name.split("/")[-1] not in text]
    assert entries and not missing
