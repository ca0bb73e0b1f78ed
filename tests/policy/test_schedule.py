import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.policy.schedule import signal, smooth


@pytest.mark.parametrize("schedule", ["cosine", "ddpm"])
def test_sigma_zero_is_exactly_clean_and_sigma_one_reaches_the_marginal(schedule):
    context, noise = torch.randn(2, 5), torch.randn(2, 5)
    ends = smooth(context, torch.tensor([0.0, 1.0]), noise, schedule)
    assert torch.equal(ends[0], context[0])
    torch.testing.assert_close(ends[1], noise[1], atol=0.03, rtol=0)


@pytest.mark.parametrize(("sigma", "weight"), [(0.1, 0.947), (0.25, 0.724), (0.5, 0.280), (0.75, 0.058)])
def test_ddpm_signal_matches_the_published_weights(sigma, weight):
    assert signal(torch.tensor([sigma]), "ddpm").item() == pytest.approx(weight, abs=2e-3)


@pytest.mark.parametrize("schedule", ["cosine", "ddpm"])
@given(st.floats(0, 0.99), st.floats(0.001, 0.01))
def test_more_sigma_never_means_more_signal(schedule, sigma, step):
    low, high = signal(torch.tensor([sigma, sigma + step]), schedule)
    assert 0 <= high <= low <= 1


def test_smoothing_keeps_the_variance_of_a_standard_context():
    context, noise = torch.randn(200_000, 1), torch.randn(200_000, 1)
    for sigma in (0.2, 0.5, 0.8):
        assert smooth(context, torch.full((200_000,), sigma), noise, "cosine").var().item() == pytest.approx(
            1, abs=0.02
        )


def test_attenuation_without_noise_is_deterministic():
    context = torch.randn(3, 4)
    half = smooth(context, torch.full((3,), 0.5), None, "cosine")
    torch.testing.assert_close(half, context * 2**-0.5)
