"""The dial of a base that learned from one input: sharp and right at sigma = 0, the marginal at sigma = 1."""

import numpy as np
import pytest
import torch

from tmrl_ros.config import BaseConfig
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.dial import SIGMAS, measure_dial
from tmrl_ros.policy.pretrain import pretrain

TINY = BaseConfig(width=32, layers=1, steps=700, batch=64, embedding=8, encoder_width=32)
N = 768


def clouds(goal, rng):
    """A blob of points at the goal."""
    points = rng.normal(0, 0.1, (len(goal), 16, 3))
    points[..., 0] += goal[:, None]
    return {"cloud": points.astype(np.float32)}


def images(goal, rng):
    """A bright bar over dark noise, its column the goal."""
    image = rng.integers(90, 110, (len(goal), 12, 24, 3)).astype(np.uint8)
    column = (goal[:, None] + 1) / 2 * 19 + 2
    image[np.broadcast_to((np.abs(np.arange(24) - column) < 2)[:, None], (len(goal), 12, 24))] = 250
    return {"front": image}


def goals_alone(goal, rng):
    """A state of which only the last entry is the goal; the first is distracting, and stays clean."""
    return {"state": np.stack([rng.normal(size=len(goal)), goal], 1).astype(np.float32)}


def task(inputs, seed):
    """Inputs and chunks of a task whose action is the goal, uniform in [-1, 1]."""
    rng = np.random.default_rng(seed)
    goal = rng.uniform(-1, 1, N).astype(np.float32)
    return inputs(goal, rng), np.repeat(goal[:, None, None], 2, 1)


@pytest.mark.parametrize(("inputs", "smooth"), [(clouds, "all"), (images, "all"), (goals_alone, "state[1:]")])
def test_a_csp_base_is_precise_at_zero_and_covers_the_marginal_at_one(inputs, smooth):
    seen, chunks = task(inputs, 0)
    base = pretrain(seen, chunks, TINY.model_copy(update={"smooth": smooth}), seed=0)
    others, truth = task(inputs, 1)
    held_out = {name: values[:48] for name, values in others.items()}
    features = base.features({name: torch.as_tensor(values) for name, values in held_out.items()})
    error = base.sample(features, torch.randn(48, 2, 1), torch.zeros(48)) - torch.as_tensor(truth[:48])
    assert error.square().mean().sqrt() < 0.3  # of 0.58 for whoever cannot see the goal
    coverage = measure_dial(base, held_out, chunks)["coverage"]
    assert coverage[0] < 0.35 and coverage[0] < coverage[5] < coverage[-1] and coverage[-1] > 0.7


def test_coverage_of_a_base_that_answers_with_its_noise_is_that_of_the_noise():
    base = BasePolicy(TINY, 1, 1, 2)  # untrained: the velocity is zero
    rng = np.random.default_rng(0)
    chunks = rng.normal(0, 0.5, (2000, 2, 1)).astype(np.float32)
    dial = measure_dial(base, {"state": np.zeros((32, 1), np.float32)}, chunks)
    assert dial["sigma"] == SIGMAS.tolist() and len(dial["spread"]) == len(SIGMAS)
    assert dial["coverage"] == pytest.approx([2.0] * len(SIGMAS), rel=0.05)
    assert dial["marginal_spread"] == pytest.approx(0.5, rel=0.05)
