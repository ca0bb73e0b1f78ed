"""ROS parameter files without ROS: read, pick one node's share, merge; the same YAML that `--params-file` takes."""

import difflib
from array import array
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from tmrl_ros.errors import ConfigError

EVERY_NODE = "/**"


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names to nested dicts, arrays to lists: {"limits.step_m": 0.02} is {"limits": {"step_m": 0.02}}."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        if isinstance(value, Mapping):
            value = nested(value)
        elif isinstance(value, array | tuple):
            value = list(value)
        for part in reversed(str(name).split(".")):
            value = {part: value}
        tree = merged(tree, value)
    return tree


def merged(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    """Both nested dicts in one; where both have a value, the strong one's."""
    out = dict(weak)
    for name, value in strong.items():
        both = isinstance(value, Mapping) and isinstance(out.get(name), Mapping)
        out[name] = merged(out[name], value) if both else value
    return out


def read_parameters(path: Path, nodes: Collection[str]) -> dict[str, dict[str, Any]]:
    """Parameters of each of `nodes` in a file: what stands under `/**`, overlaid with what stands under its name.

    `name`, `/name` and `/**/name` all mean the node; a section for a node that does not exist is refused.
    """
    sections = _sections(path)
    named = {name.rpartition("/")[2]: values for name, values in sections.items() if name != EVERY_NODE}
    for name in named:
        if name not in nodes:
            near = difflib.get_close_matches(name, nodes, 1) or [", ".join(sorted(nodes))]
            raise ConfigError(f"{path}: there is no node {name}; did you mean {near[0]}?")
    shared = sections.get(EVERY_NODE, {})
    return {node: merged(shared, named.get(node, {})) for node in nodes}


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(
            f"parameter file {path}: {error.strerror}; name one that exists, such as config/sim.yaml"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"parameter file {path} is no YAML: {' '.join(str(error).split())}") from None
    sections = {}
    for name, section in (document or {}).items() if isinstance(document or {}, dict) else [("", None)]:
        if not isinstance(section, dict) or set(section) != {"ros__parameters"}:
            raise ConfigError(f"{path}: section {name!r} must hold ros__parameters and nothing else")
        sections[name] = nested(section["ros__parameters"] or {})
    return sections


def write_parameters(path: Path, values: Mapping[str, Mapping[str, Any]]) -> None:
    """A file with one section a node, as `--params-file` takes it."""
    document = {f"/**/{node}": {"ros__parameters": _plain(parameters)} for node, parameters in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def _plain(value):
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value
