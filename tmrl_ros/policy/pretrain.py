"""Pre-training of the base policy from demonstration chunks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from tmrl_ros.config import BaseConfig
from tmrl_ros.errors import DataError
from tmrl_ros.policy.base import BasePolicy

POOLED_ROWS = 2048  # from which the scales of what encoders pool are taken
EMA_DECAY = 0.999  # averaged weights sample visibly smoother chunks than the last iterate


def pretrain(
    inputs: Mapping[str, np.ndarray],
    chunks: np.ndarray,
    config: BaseConfig,
    seed: int,
    progress: Callable[[int, dict], None] = lambda *_: None,
    state_names: Sequence[str] = (),
    action_names: Sequence[str] = (),
    action_hz: int = 0,
) -> BasePolicy:
    """Fit a policy to `inputs` and `chunks` [n, horizon, action_dim]; calls `progress(step, info)`.

    Its inputs are those given, each [n, ...]: "state" and "cloud" float32, images uint8 by name. Encoders train too.
    What the numbers mean is kept with the policy, so that a session of another meaning refuses it.
    """
    if rows := {name: len(values) for name, values in inputs.items() if len(values) != len(chunks)}:
        raise DataError(f"{len(chunks)} chunks, but {rows} rows of inputs; each chunk needs its observation")
    torch.manual_seed(seed)
    shapes = {name: values.shape[1:] for name, values in inputs.items()}
    (state_dim,) = shapes.pop("state", (0,))
    tensors = {name: torch.as_tensor(values) for name, values in inputs.items()}
    images = [name for name, values in tensors.items() if values.dtype == torch.uint8]
    chunks = torch.as_tensor(chunks, dtype=torch.float32)
    _, horizon, action_dim = chunks.shape
    policy = BasePolicy(config, state_dim, action_dim, horizon, shapes, state_names, action_names, action_hz)
    policy.fit_normalisation(tensors, chunks)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate, weight_decay=1e-4, fused=True)
    warmup = 0.05 if config.steps > 100 else 0.3  # OneCycleLR divides by zero where it is a single step
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps, pct_start=warmup)
    average = {name: value.clone() for name, value in policy.state_dict().items()}
    for step in range(config.steps):
        rows = torch.randint(len(chunks), (config.batch,))
        seen = {name: values[rows] for name, values in tensors.items()}
        if config.image_shift_px:
            seen |= {name: shifted(seen[name], config.image_shift_px) for name in images}
        loss, info = policy.loss(seen, chunks[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        torch._foreach_lerp_(
            list(average.values()), list(policy.state_dict().values()), 1 - min(EMA_DECAY, step / (step + 10))
        )
        progress(step + 1, info)
    policy.load_state_dict(average)
    some = torch.randperm(len(chunks))[:POOLED_ROWS]
    policy.fit_pooled({name: values[some] for name, values in tensors.items()})
    return policy.eval().requires_grad_(False)


def shifted(images: torch.Tensor, most_px: int) -> torch.Tensor:
    """Each of `images` [n, height, width, 3] moved by its own random whole pixels, at most `most_px` along an axis.

    The border repeats (DrQ, arXiv 2004.13649): a policy of one camera at one place otherwise learns that place.
    """
    n, height, width, _ = images.shape
    dy, dx = torch.randint(-most_px, most_px + 1, (2, n, 1))
    rows = (torch.arange(height) + dy).clamp(0, height - 1)
    columns = (torch.arange(width) + dx).clamp(0, width - 1)
    return images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
