"""What a person did, as a decision of the actor: so that critics learn from it whatever they judge.

Where critics judge the rows that ran, those are it. Elsewhere it is the u whose chunk comes nearest to them: the best
of SAMPLES draws, of which the BEST go on for STEPS steps of gradient descent through the frozen flow.
"""

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.policy.steering import Steering

SAMPLES, BEST, STEPS, RATE = 256, 8, 30, 0.1


def judged(steering: Steering, features: Tensor, actions: np.ndarray, seed: int, error_max: float) -> Tensor | None:
    """What critics see [judged_dim] of rows that a person ran, or None where no chunk of the base comes near them.

    `features` [d] and `actions` float32 [executed, action_dim] in [-1, 1]; `error_max` is the largest root mean square
    of the difference, in action units.
    """
    if steering.judges_action:
        return _padded(actions, steering.rows).flatten()
    u, error = nearest(steering, features, actions, seed)
    return u if error <= error_max else None


def nearest(steering: Steering, features: Tensor, actions: np.ndarray, seed: int) -> tuple[Tensor, float]:
    """(u [m], root mean square difference of its chunk's first rows from `actions`)."""
    wanted = torch.as_tensor(actions)
    generator = torch.Generator().manual_seed(seed)

    def errors(u: Tensor) -> Tensor:
        rows = steering.chunk(features.expand(len(u), -1), u)[:, : len(wanted)]
        return (rows - wanted).square().mean((1, 2))

    with torch.no_grad():
        drawn = 2 * torch.rand(SAMPLES, steering.heads.dim, generator=generator) - 1
        found = drawn[errors(drawn).topk(BEST, largest=False).indices]
    # u stays inside (-1, 1): at the ends tanh has no gradient to come back by.
    free = found.clamp(-0.99, 0.99).atanh().requires_grad_()
    adam = torch.optim.Adam([free], lr=RATE)
    for _ in range(STEPS):
        adam.zero_grad()
        errors(free.tanh()).sum().backward()
        adam.step()
    with torch.no_grad():
        found = torch.cat([found, free.tanh()])
        error = errors(found)
    return found[error.argmin()], float(error.min().sqrt())


def _padded(actions: np.ndarray, rows: int) -> Tensor:
    """[rows, action_dim]: past the end no motion, and the last grip."""
    whole = np.zeros((rows, actions.shape[1]), np.float32)
    whole[: len(actions)] = actions
    whole[len(actions) :, -1] = actions[-1, -1]
    return torch.as_tensor(whole)
