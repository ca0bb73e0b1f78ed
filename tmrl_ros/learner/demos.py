"""Demonstrations as decisions, for critics that judge actions: RLPD's half of each batch, RFS's corrections."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.errors import ConfigError
from tmrl_ros.learner.replay import Replay
from tmrl_ros.policy.inputs import fit
from tmrl_ros.policy.steering import Steering

STRETCH = 256  # rows whose clouds or images are in memory at once


class Demonstrations(Protocol):
    """Episodes row by row, as data/store.py has them."""

    actions: np.ndarray  # float32 [rows, action_dim]
    ends: np.ndarray  # int64 [episodes]

    def inputs(self, rows: slice) -> Mapping[str, np.ndarray]:
        """What a policy may see at `rows`, by name."""


def features_of(steering: Steering, demonstrations: Demonstrations) -> Tensor:
    """What actor and critics see [rows, feature_dim] of each row, whatever the base takes: state, cloud, images.

    Raises DataError if the store lacks an input of the base, or holds it in another shape.
    """
    shapes, found = steering.base.shapes, []
    for first in range(0, len(demonstrations.actions), STRETCH):
        inputs = demonstrations.inputs(slice(first, first + STRETCH))
        fit(shapes, {name: values[0] for name, values in inputs.items()})
        found.append(steering.features({name: torch.as_tensor(inputs[name]) for name in shapes}))
    return torch.cat(found)


def demo_replay(steering: Steering, features: Tensor, actions: np.ndarray, ends: np.ndarray) -> Replay:
    """Every row of successful episodes as the start of a decision.

    `features` [rows, feature_dim] as of features_of, `actions` float32 [rows, action_dim], `ends` int64 [episodes]. The
    decision that reaches an episode's end earns 0 and ends it, every other -1. Raises ConfigError if the method's
    critics judge something that demonstrations do not hold, such as flow noise.
    """
    if not steering.judges_action:
        names = " and ".join(steering.heads.names())
        raise ConfigError(f"sac.demo_share > 0 needs critics that judge actions; those of {names} do not: set it to 0")
    rows, first = steering.rows, np.arange(len(actions))
    end = np.repeat(ends, np.diff(ends, prepend=0))
    wanted = first[:, None] + np.arange(rows)
    chunk = actions[np.minimum(wanted, end[:, None] - 1)]
    chunk[wanted >= end[:, None], :-1] = 0.0  # past the end: no motion, the last grip
    last = first + rows >= end
    features = features.numpy()
    replay = Replay(len(actions), features.shape[1], steering.judged_dim)
    replay.extend(
        episode=np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0)),
        features=features,
        action=chunk.reshape(len(chunk), -1),
        reward=-(~last).astype(np.float32),
        next_features=features[np.minimum(first + rows, end - 1)],
        bootstrap=(~last).astype(np.float32),
    )
    return replay
