"""Context smoothing: c~ = r(sigma) c + sqrt(1 - r(sigma)^2) eps, with the timestep sigma in [0, 1] as the dial.

sigma = 0 leaves the context exactly clean, sigma = 1 leaves (almost) nothing of it. Source: TMRL, arXiv 2605.12236.
"""

import math

import torch

DDPM_STEPS = 1000
DDPM_BETAS = (1e-4, 0.02)


def signal(sigma: torch.Tensor, schedule: str) -> torch.Tensor:
    """Weight r of the clean context, in [0, 1], same shape as `sigma`.

    `cosine` is r = cos(pi sigma / 2): an even dial. `ddpm` is the paper's sqrt(alpha_bar_k), k = floor(sigma (T - 1)),
    with linear betas and T = 1000, shifted by one step so that sigma = 0 is exactly clean; nearly all noise above 0.5.
    """
    if schedule == "cosine":
        return torch.cos(sigma * (math.pi / 2)).clamp(0.0, 1.0)
    steps = (sigma * (DDPM_STEPS - 1)).floor().long()
    return _ddpm_signal().to(sigma.dtype)[steps]


def smooth(context: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor | None, schedule: str) -> torch.Tensor:
    """Corrupt `context` [n, d] by `sigma` [n]; `noise` [n, d] is standard normal, None attenuates only (eps = 0)."""
    weight = signal(sigma, schedule)[:, None]
    attenuated = weight * context
    if noise is None:
        return attenuated
    return attenuated + (1.0 - weight**2).clamp(min=0.0).sqrt() * noise


def _ddpm_signal() -> torch.Tensor:
    betas = torch.linspace(*DDPM_BETAS, DDPM_STEPS, dtype=torch.float64)
    betas[0] = 0.0
    return torch.cumprod(1.0 - betas, 0).sqrt()
