"""Is the dial alive? How far the base's actions spread as sigma grows, from the conditional towards the marginal."""

from collections.abc import Mapping

import numpy as np
import torch

from tmrl_ros.policy.base import BasePolicy

SIGMAS = np.linspace(0.0, 1.0, 11)
SAMPLES = 64  # chunks an observation


@torch.no_grad()
def measure_dial(base: BasePolicy, inputs: Mapping[str, np.ndarray], chunks: np.ndarray, seed: int = 0) -> dict:
    """Spread of chunks at one observation over sigma, in action units, averaged over `inputs`, each [n, ...].

    `coverage` is that spread as a share of `marginal_spread`, the standard deviation over the demonstrated `chunks`.
    """
    generator = torch.Generator().manual_seed(seed)
    features = base.features({name: torch.as_tensor(values) for name, values in inputs.items()})
    features = features.repeat_interleave(SAMPLES, 0)
    z = torch.randn(len(features), base.horizon, base.action_dim, generator=generator)
    noise = torch.randn(len(features), base.context_dim, generator=generator)
    spread = []
    for sigma in SIGMAS:
        actions = base.sample(features, z, torch.full((len(features),), float(sigma)), noise)
        groups = actions.view(-1, SAMPLES, base.horizon * base.action_dim)
        spread.append(float(groups.std(1).mean()))
    marginal = float(chunks.std(0).mean())
    return {
        "sigma": SIGMAS.tolist(),
        "spread": spread,
        "coverage": [s / marginal for s in spread],
        "marginal_spread": marginal,
    }
