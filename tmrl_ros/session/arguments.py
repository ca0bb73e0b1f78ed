"""The arguments of a session as words, name:=value: one table for `ros2 launch` and for `tmrl up`."""

import difflib
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar, get_args, get_origin

from tmrl_ros.config import Model, validate
from tmrl_ros.errors import ConfigError
from tmrl_ros.session.graph import SessionOptions

Options = TypeVar("Options", bound=Model)


class Argument(NamedTuple):
    name: str
    default: str
    description: str
    choices: tuple[str, ...]  # empty: any value


def arguments(model: type[Model] = SessionOptions) -> list[Argument]:
    """Every field of the options as launch sees it: defaults as words, choices where there are few."""
    return [
        Argument(name, _word(entry.default), entry.description, _choices(entry.annotation))
        for name, entry in model.model_fields.items()
    ]


def _word(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(annotation) -> tuple[str, ...]:
    if annotation is bool:
        return ("true", "false")
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def parse(words: Sequence[str], model: type[Options] = SessionOptions) -> Options:
    """Options from name:=value words; raises ConfigError that names the argument that was probably meant."""
    known, values = list(model.model_fields), {}
    for word in words:
        name, assigned, value = word.partition(":=")
        if not assigned:
            raise ConfigError(f"{word!r} is no argument; write name:=value, such as minutes:=5")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or [", ".join(known)]
            raise ConfigError(f"{name} is no argument; did you mean {near[0]}?")
        values[name] = value
    return validate(model, values)
