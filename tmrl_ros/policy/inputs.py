"""What a policy is fed, by name: "state", "cloud", and the name of each image."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from tmrl_ros.errors import DataError
from tmrl_ros.types import Observation

Shapes = Mapping[str, tuple[int, ...]]  # name -> [state_dim], [points, 3 or 6] or [height, width, 3]


def offered(observation: Observation) -> dict[str, np.ndarray]:
    """Every input that `observation` has, by name."""
    cloud = {} if observation.cloud is None else {"cloud": observation.cloud}
    return {"state": observation.state, **cloud, **observation.images}


def gather(observations: Sequence[Observation], shapes: Shapes) -> dict[str, np.ndarray]:
    """The inputs in `shapes`, each [n, *shape]; raises DataError if one is missing, or not what it was.

    Images are uint8, everything else comes as float32.
    """
    seen = [offered(observation) for observation in observations]
    for arrays in seen:
        fit(shapes, arrays)
    return {name: np.stack([arrays[name] for arrays in seen]).astype(kind(shapes[name])) for name in shapes}


def fit(shapes: Shapes, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises DataError if an input in `shapes` is missing from one observation's `arrays`, or is not what it was."""
    need(shapes, arrays)
    for name, shape in shapes.items():
        _check(name, arrays[name], shape)


def need(names: Iterable[str], given: Collection[str]) -> None:
    """Raises DataError if one of `names` is not among those `given`."""
    for name in names:
        if name not in given:
            there = ", ".join(given) or "nothing"
            raise DataError(f"the policy needs {name!r}, but is given {there}; publish it, or pre-train without it")


def kind(shape: tuple[int, ...]) -> type:
    """The number type of an input of this shape."""
    return np.uint8 if len(shape) == 3 else np.float32


def _check(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or (len(shape) == 3 and array.dtype != np.uint8):
        wanted = f"uint8 {list(shape)}" if len(shape) == 3 else list(shape)
        raise DataError(
            f"{name!r} of the observation is {array.dtype} {list(array.shape)}, the policy was pre-trained with "
            f"{wanted}; use the settings of its demonstrations"
        )
