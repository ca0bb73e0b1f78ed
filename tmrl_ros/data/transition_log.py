"""Transitions as bytes, for the learner's log: arrays as they are, in safetensors, so reading one runs no code."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.numpy

from tmrl_ros.data import append_log
from tmrl_ros.data.assembler import Transition
from tmrl_ros.errors import DataError
from tmrl_ros.types import Modulation, Observation

STATE, ACTOR, LOG = "learner", "actor", "transitions.log"  # what a learner keeps in its checkpoint folder
PLAIN = ("executed", "reward", "terminated", "truncated", "success", "episode", "decision")
PLAIN += ("actor_version", "greedy", "demo", "robot_time_s")
NOISES = ("z", "context_noise", "residual")
SIDES = {"observation": "before", "next_observation": "after"}


def encode(transition: Transition) -> bytes:
    """`transition`, whole but for the rows of a demo; decode gives it back bit for bit."""
    t, facts = transition, {name: getattr(transition, name) for name in PLAIN}
    arrays = {"actions": t.actions}
    facts["sigma"] = t.modulation.sigma
    arrays |= {f"modulation/{name}": getattr(t.modulation, name) for name in NOISES}
    for name, side in SIDES.items():
        seen = getattr(t, name)
        facts[side] = {"stamp_ns": seen.stamp_ns, "images": list(seen.images), "cloud": seen.cloud is not None}
        arrays[f"{side}/state"] = seen.state
        arrays |= {f"{side}/image/{image}": values for image, values in seen.images.items()}
        if seen.cloud is not None:
            arrays[f"{side}/cloud"] = seen.cloud
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    return safetensors.numpy.save({name: np.ascontiguousarray(values) for name, values in arrays.items()})


def decode(data: bytes) -> Transition:
    """What encode was given; raises DataError if these bytes are no transition."""
    try:
        arrays = safetensors.numpy.load(data)
        facts = json.loads(arrays["facts"].tobytes())
        sides = {name: _observation(arrays, facts[side], side) for name, side in SIDES.items()}
        noises = {name: arrays[f"modulation/{name}"] for name in NOISES}
        return Transition(
            **sides,
            actions=arrays["actions"],
            **{name: facts[name] for name in PLAIN},
            modulation=Modulation(sigma=facts["sigma"], **noises),
        )
    except Exception as error:  # the library raises its own type, and others for what is missing
        why = f"a record of {len(data)} bytes is no transition ({error}); restore a copy of its log"
        raise DataError(why) from None


def read(path: str | Path) -> Iterator[Transition]:
    """The transitions of a log, in the order in which they were learned from."""
    return map(decode, append_log.read(path))


def _observation(arrays: dict[str, np.ndarray], facts: dict, side: str) -> Observation:
    images = {name: arrays[f"{side}/image/{name}"] for name in facts["images"]}
    return Observation(facts["stamp_ns"], arrays[f"{side}/state"], images, arrays.get(f"{side}/cloud"))
