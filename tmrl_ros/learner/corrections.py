"""A person's episodes at deployment, before the first decision: critics then know from the start what success is like.

Every decision of theirs becomes one of the actor (policy/relabel.py), so what is a demonstration of motion elsewhere is
here an experience with the base policy's own noise and sigma.
"""

import numpy as np
from torch import Tensor

from tmrl_ros.learner.replay import Replay
from tmrl_ros.policy import relabel
from tmrl_ros.policy.steering import Steering

FIRST = -2  # episodes count down from here, apart from those of the session and from the ring's empty rows


def teach(
    replay: Replay, steering: Steering, features: Tensor, actions: np.ndarray, ends: np.ndarray, error_max: float
) -> int:
    """Add successful episodes to an empty replay, and return how many of their decisions it could take.

    `features` [rows, feature_dim] as of features_of, `actions` float32 [rows, action_dim], `ends` int64 [episodes]. A
    decision takes as many rows as one that runs; the last of an episode earns 0 and ends it, every other -1.
    """
    for number, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        for first in range(begin, end, steering.rows):
            after = min(first + steering.rows, end)
            judged = relabel.judged(steering, features[first], actions[first:after], first, error_max)
            if judged is not None:
                replay.add(
                    FIRST - number,
                    after == end,
                    shown=True,
                    features=features[first].numpy(),
                    action=judged.numpy(),
                    reward=np.float32(0 if after == end else -1),
                    next_features=features[min(after, end - 1)].numpy(),
                    bootstrap=np.float32(after < end),
                )
    return len(replay)
