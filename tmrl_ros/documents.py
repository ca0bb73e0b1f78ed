"""JSON and YAML from files that may be damaged or hostile: a document, or a ValueError that says why not."""

import json
from typing import Any

import yaml

LIMIT_BYTES = 64 * 2**20
DEEPEST = 64  # brackets within brackets; what calls itself for each would end the process
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def from_json(data: bytes) -> Any:
    """The document in UTF-8 text; raises ValueError."""
    _check_size(data)
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None


def from_yaml(data: bytes) -> Any:
    """The one document in UTF-8 text, of plain values; raises ValueError.

    Aliases are refused, as ROS does: a few lines of them can stand for gigabytes.
    """
    _check_size(data)
    try:
        text = data.decode()
        _check_events(text)
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def shown(value: Any) -> str:
    """A value as it may stand in a sentence, however long it is."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_size(data: bytes) -> None:
    if len(data) > LIMIT_BYTES:
        raise ValueError(f"{len(data)} bytes long, {LIMIT_BYTES} are allowed")


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias, which parameter files do not know")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} levels")
