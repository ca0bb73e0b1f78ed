"""The dependency rules of docs/architecture.md, read from the sources: who may import whom, and who may import what."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tmrl_ros"
BASE = {"types", "errors", "config", "fr3", "kinematics", "parameters", "documents", ""}
DOMAIN = {"robot", "perception", "policy", "learner", "supervisor", "data", "teleop", "reward"}
ALLOWED = {
    **{name: BASE for name in BASE},
    **{name: BASE | {name} for name in DOMAIN},
    "learner": BASE | {"learner", "policy"},
    "reward": BASE | {"reward", "policy"},  # the same encoders and files
    "nodes": BASE | DOMAIN | {"nodes"},
    "session": BASE | DOMAIN | {"nodes", "session"},
}
ONLY_IN = {"torch": {"policy", "learner", "reward"}, "mujoco": {"robot"}}
ROS = ("rclpy", "launch", "launch_ros", "builtin_interfaces", "std_srvs", "ament_index_python")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The package below tmrl_ros that a file belongs to, or its own name."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "tmrl_ros"}
    return found - {"tmrl_ros"}


@pytest.mark.parametrize("path", SOURCES, ids=[str(p.relative_to(PACKAGE)) for p in SOURCES])
def test_a_module_imports_only_what_its_place_allows(path):
    place = part(path)
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "tmrl_ros":
            name = rest.partition(".")[0]
            assert name.startswith("__") or name in ALLOWED[place], f"{place} must not import {module}"
        elif top in ONLY_IN:
            assert place in ONLY_IN[top], f"{module} belongs in {' and '.join(ONLY_IN[top])} alone"
        elif top in ROS or top.endswith("_msgs"):
            launching = path.name == "launching.py" and top.startswith("launch")
            assert place == "nodes" or launching, f"{module} belongs in nodes alone"


def test_the_rules_know_every_package():
    assert {part(path) for path in SOURCES} <= set(ALLOWED)


def test_a_forbidden_import_would_be_seen(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def later():\n    import torch.nn\n    from tmrl_ros import learner\n")
    assert imports(file) == {"torch.nn", "tmrl_ros.learner"}
