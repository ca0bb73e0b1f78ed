"""Which of two messages belong together, and whether they say the same: for comparing a replay with its recording."""

import hashlib
import struct
from array import array
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message

from tmrl_msgs import msg as tm

Key = tuple
KEYS = {tm.EpisodeEvent: ("episode", "kind"), tm.ActorUpdate: ("version",)}  # fields that name a message
# What differs from run to run: when it was published, and how long it took.
PASSING = {tm.ActorUpdate: {"stamp", "metric_names", "metric_values"}}


def likeness(kind: type, data: bytes) -> tuple[Key, str]:
    """The name of a serialised message of type `kind` among those of its topic, and the SHA-256 of what it says.

    It is named by its stamp, where no other fields are known to: a decision that was cut gives its number to the next.

    Serialisations themselves cannot be compared: their padding is whatever the memory held.
    """
    message = deserialize_message(data, kind)
    fields = KEYS.get(kind)
    sha = hashlib.sha256()
    for name in message.get_fields_and_field_types():
        if name not in PASSING.get(kind, ()):
            _add(sha, getattr(message, name))
    said = sha.hexdigest()
    if fields:
        return tuple(getattr(message, name) for name in fields), said
    return (stamp_ns(data) if is_stamped(kind) else said,), said


def is_stamped(kind: type) -> bool:
    """Whether messages of type `kind` begin with a Header or a Time."""
    first = next(iter(kind.get_fields_and_field_types().values()), "")
    return first in ("std_msgs/Header", "builtin_interfaces/Time")


def stamp_ns(data: bytes) -> int:
    """ROS time in ns of a serialised message that is_stamped."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return seconds * 10**9 + nanoseconds


def _add(sha: Any, value: Any) -> None:
    """Feed one field to `sha`: floats by their bits, nested messages field by field."""
    if hasattr(value, "get_fields_and_field_types"):
        for name in value.get_fields_and_field_types():
            _add(sha, getattr(value, name))
    elif isinstance(value, array | np.ndarray):
        sha.update(f"[{len(value)}]".encode() + value.tobytes())
    elif isinstance(value, list | tuple):
        sha.update(f"[{len(value)}]".encode())
        for entry in value:
            _add(sha, entry)
    elif isinstance(value, bytes):
        sha.update(value)
    elif isinstance(value, float):
        sha.update(struct.pack("<d", value))
    else:
        sha.update(f"{value!r};".encode())
