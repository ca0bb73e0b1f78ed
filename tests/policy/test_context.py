import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.errors import ConfigError
from tmrl_ros.policy.context import Context

STATE = ["tcp_x_m", "tcp_y_m", "object_x_m", "object_y_m"]
ENCODED = ["cloud", "cloud", "wrist", "wrist"]
CHOICES = {
    "all": [0, 1, 2, 3, 4, 5, 6, 7],
    "state": [0, 1, 2, 3],
    "state[2:]": [2, 3],
    "state[-1:]": [3],
    "object": [2, 3],
    "object_x cloud": [2, 4, 5],
    "wrist cloud state": [0, 1, 2, 3, 4, 5, 6, 7],
    "cloud object": [2, 3, 4, 5],
}


def context(smooth: str) -> Context:
    return Context(smooth, STATE, ENCODED, 2.0, "cosine")


@pytest.mark.parametrize(("smooth", "columns"), CHOICES.items())
def test_words_choose_the_columns_they_name(smooth, columns):
    features = torch.arange(8.0)[None]
    made = context(smooth)
    assert made.of(features)[0].tolist() == [2.0 * k for k in columns] and made.dim == len(columns)


@given(st.sampled_from(sorted(CHOICES)), st.floats(0, 1), st.booleans())
def test_the_clean_part_is_bit_identical_at_any_sigma(smooth, sigma, noisy):
    made, features = context(smooth), torch.randn(3, 8)
    noise = torch.randn(3, made.dim) if noisy else None
    told = made(features, torch.full((3,), sigma), noise)
    clean = [k for k in range(8) if k not in CHOICES[smooth]]
    assert told.shape == (3, 8) and torch.equal(told[:, : len(clean)], features[:, clean])


@pytest.mark.parametrize("smooth", CHOICES)
def test_sigma_reaches_every_smoothed_column_and_zero_reaches_none(smooth):
    made, features = context(smooth), torch.randn(1, 8).expand(2, -1)
    noise = torch.randn(1, made.dim).expand(2, -1)
    told = made(features, torch.tensor([0.0, 0.5]), noise)[:, 8 - made.dim :]
    assert torch.equal(told[0], made.of(features)[0]) and (told[0] != told[1]).all()
    torch.testing.assert_close(made(features, torch.ones(2), noise)[:, 8 - made.dim :], noise)


@pytest.mark.parametrize("word", ["goal", "state[9:]", "front", "Cloud", "state[1]"])
def test_a_word_that_means_nothing_is_refused_with_what_is_valid(word):
    with pytest.raises(ConfigError) as error:
        context(f"cloud {word}")
    assert repr(word) in str(error.value) and all(name in str(error.value) for name in ["all", "wrist", *STATE])
