"""The arguments of a session as words, name:=value: one table for `ros2 launch` and for `tmrl up`."""

import difflib
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args, get_origin

from tmrl_ros.config import validate
from tmrl_ros.errors import ConfigError
from tmrl_ros.session.graph import SessionOptions


class Argument(NamedTuple):
    name: str
    default: str
    description: str
    choices: tuple[str, ...]  # empty: any value


def arguments() -> list[Argument]:
    """Every field of SessionOptions as launch sees it: defaults as words, choices where there are few."""
    return [
        Argument(name, _word(entry.default), entry.description, _choices(entry.annotation))
        for name, entry in SessionOptions.model_fields.items()
    ]


def _word(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(annotation) -> tuple[str, ...]:
    if annotation is bool:
        return ("true", "false")
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def parse(words: Sequence[str]) -> SessionOptions:
    """Options from name:=value words; raises ConfigError that names the argument that was probably meant."""
    known, values = list(SessionOptions.model_fields), {}
    for word in words:
        name, assigned, value = word.partition(":=")
        if not assigned:
            raise ConfigError(f"{word!r} is no argument; write name:=value, such as minutes:=5")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or [", ".join(known)]
            raise ConfigError(f"{name} is no argument; did you mean {near[0]}?")
        values[name] = value
    return validate(SessionOptions, values)
