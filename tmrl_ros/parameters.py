"""ROS parameter files without ROS: read, pick one node's share, merge; the same YAML that `--params-file` takes."""

import difflib
import hashlib
from array import array
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from tmrl_ros.documents import from_yaml, shown
from tmrl_ros.errors import ConfigError

EVERY_NODE = "/**"
WRITTEN = b"# sha256 of what follows: "


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
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"parameter file {path}: {error.strerror}; name one that exists, such as config/sim.yaml"
        ) from None
    return parse_parameters(data, str(path), nodes)


def parse_parameters(data: bytes, path: str, nodes: Collection[str]) -> dict[str, dict[str, Any]]:
    """The same of the content of a file; `path` says in errors where it is from."""
    sections = _sections(data, path)
    named = {name.rpartition("/")[2]: values for name, values in sections.items() if name != EVERY_NODE}
    for name in named:
        if name not in nodes:
            near = difflib.get_close_matches(name, nodes, 1) or [", ".join(sorted(nodes))]
            raise ConfigError(f"{path}: there is no node {name}; did you mean {near[0]}?")
    shared = sections.get(EVERY_NODE, {})
    return {node: merged(shared, named.get(node, {})) for node in nodes}


def _sections(data: bytes, path: str) -> dict[str, dict[str, Any]]:
    try:
        document = from_yaml(data)
    except ValueError as error:
        raise ConfigError(f"parameter file {path} is no YAML that can be read: {error}") from None
    _check_written(path, data)
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no sections such as /**, which must hold ros__parameters; see config/sim.yaml")
    return {str(name): _section(path, name, section) for name, section in document.items()}


def _section(path: str, name: Any, section: Any) -> dict[str, Any]:
    if not isinstance(section, dict) or set(section) != {"ros__parameters"}:
        raise ConfigError(f"{path}: section {shown(name)} must hold ros__parameters and nothing else")
    values = section["ros__parameters"]
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}: ros__parameters of {shown(name)} = {shown(values)}; give names and their values")
    return nested(values or {})


def _check_written(path: str, data: bytes) -> None:
    """A file that a session wrote says what it held then."""
    line, _, rest = data.partition(b"\n")
    if line.startswith(WRITTEN) and line != _written(rest):
        raise ConfigError(
            f"{path} is not what was written (its checksum differs): it is damaged, or was edited; restore a copy, or "
            "remove its first line if the change is meant"
        )


def _written(rest: bytes) -> bytes:
    return WRITTEN + hashlib.sha256(rest).hexdigest().encode()


def write_parameters(path: Path, values: Mapping[str, Mapping[str, Any]]) -> None:
    """A file with one section a node, as `--params-file` takes it; its first line is a checksum of the others."""
    document = {f"/**/{node}": {"ros__parameters": _plain(parameters)} for node, parameters in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(document, sort_keys=False).encode()
    path.write_bytes(_written(text) + b"\n" + text)


def _plain(value):
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value
