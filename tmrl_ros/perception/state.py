"""The low-dimensional observation: what a policy sees when objects arrive as positions, and beside images."""

from collections.abc import Mapping, Sequence

import numpy as np

from tmrl_ros.config import PerceptionConfig
from tmrl_ros.types import Observation

# (name, size, unit) in the order of Observation.state; positions in the base frame.
STATE_LAYOUT = (
    ("tcp_position", 3, "m"),
    ("gripper_width", 1, "m"),
    ("object_from_tcp", 3, "m"),  # the first object as the camera reports it, less the TCP: what a grasp depends on
    ("tcp_position_error", 3, "m"),  # desired less measured: tells of contact
)
STATE_DIM = sum(size for _, size, _ in STATE_LAYOUT)
STATE_NAMES = [
    f"{name}{('_x', '_y', '_z')[k] if size == 3 else ''}_{unit}"
    for name, size, unit in STATE_LAYOUT
    for k in range(size)
]


def state_observation(stamp_ns, tcp_position, width_m, objects, desired_tcp_position) -> Observation:
    """Observation with state float32 [10] as in STATE_LAYOUT; objects [n, 3], n >= 1."""
    error = np.asarray(desired_tcp_position) - tcp_position
    state = np.concatenate([tcp_position, [width_m], np.asarray(objects)[0] - tcp_position, error]).astype(np.float32)
    return Observation(stamp_ns, state)


# What a state beside images can be made of: the sources that each quantity needs, and how it follows from their values.
QUANTITIES = {
    "joint_position": (("joints",), lambda v: v["joints"]),  # rad
    "tcp_position": (("tcp",), lambda v: v["tcp"][:3, 3]),
    "gripper_width": (("width",), lambda v: [v["width"]]),
    "object_from_tcp": (("objects", "tcp"), lambda v: v["objects"][0] - v["tcp"][:3, 3]),
    "tcp_position_error": (("desired_tcp", "tcp"), lambda v: v["desired_tcp"] - v["tcp"][:3, 3]),
}


AXES = {"joint_position": [f"_{k}_rad" for k in range(1, 8)], "gripper_width": ["_m"]}  # others: x, y, z


def names_of(quantities: Sequence[str]) -> list[str]:
    """Names of the entries that these quantities make, with their units."""
    return [f"{name}{ending}" for name in quantities for ending in AXES.get(name, ("_x_m", "_y_m", "_z_m"))]


def published_names(config: PerceptionConfig) -> list[str]:
    """Names of the entries of Observation.state under these settings."""
    return names_of(config.state.split()) if config.cameras else STATE_NAMES


def sources_of(names: Sequence[str]) -> list[str]:
    """What has to be heard for these quantities."""
    return list(dict.fromkeys(source for name in names for source in QUANTITIES[name][0]))


def state_of(names: Sequence[str], values: Mapping) -> np.ndarray:
    """float32: these quantities, from joints [7] rad, tcp [4, 4], desired_tcp [3], width in m, objects [n, 3] in m."""
    return np.concatenate([QUANTITIES[name][1](values) for name in names]).astype(np.float32)
