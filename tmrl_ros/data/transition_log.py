"""Transitions and labels as bytes, for the learner's log: arrays as they are, in safetensors: reading runs no code."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.numpy

from tmrl_ros.data import append_log
from tmrl_ros.data.assembler import Transition
from tmrl_ros.errors import DataError
from tmrl_ros.types import Label, Modulation, Observation

STATE, ACTOR, LOG = "learner", "actor", "transitions.log"  # what a learner keeps in its checkpoint folder
PLAIN = ("executed", "reward", "terminated", "truncated", "success", "episode", "decision")
PLAIN += ("actor_version", "greedy", "demo", "robot_time_s")
NOISES = ("z", "context_noise", "residual")
LABEL = "label"  # the only array of a record that is one
SIDES = {"observation": "before", "next_observation": "after"}


def encode(record: Transition | Label) -> bytes:
    """A label, or a transition whole but for the rows of a demo; decode gives it back bit for bit."""
    if isinstance(record, Label):
        return safetensors.numpy.save({LABEL: _text(dataclasses.asdict(record))})
    t, facts = record, {name: getattr(record, name) for name in PLAIN}
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
    arrays["facts"] = _text(facts)
    return safetensors.numpy.save({name: np.ascontiguousarray(values) for name, values in arrays.items()})


def decode(data: bytes) -> Transition | Label:
    """What encode was given; raises DataError if these bytes are neither."""
    try:
        arrays = safetensors.numpy.load(data)
        if LABEL in arrays:
            return Label(**json.loads(arrays[LABEL].tobytes()))
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
    return (record for record in records(path) if isinstance(record, Transition))


def records(path: str | Path) -> Iterator[Transition | Label]:
    """All that a log holds, in the order in which the learner had it."""
    return map(decode, append_log.read(path))


def _text(facts: dict) -> np.ndarray:
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


def _observation(arrays: dict[str, np.ndarray], facts: dict, side: str) -> Observation:
    images = {name: arrays[f"{side}/image/{name}"] for name in facts["images"]}
    return Observation(facts["stamp_ns"], arrays[f"{side}/state"], images, arrays.get(f"{side}/cloud"))
