import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.errors import ConfigError
from tmrl_ros.policy.encoders import CloudEncoder, ImageEncoder, make_encoder

RNG = np.random.default_rng(0)
DATA = {
    (20, 3): torch.as_tensor(RNG.normal(0.5, 0.1, (64, 20, 3)), dtype=torch.float32),
    (20, 6): torch.as_tensor(RNG.uniform(0, 1, (64, 20, 6)), dtype=torch.float32),
    (12, 16, 3): torch.as_tensor(RNG.integers(0, 256, (64, 12, 16, 3)), dtype=torch.uint8),
}


def fitted(shape):
    torch.manual_seed(0)
    encoder = make_encoder("seen", shape, 16, 32)
    encoder.fit(DATA[shape])
    return encoder


@pytest.mark.parametrize("shape", DATA)
def test_embeddings_have_unit_rms_and_differ_from_the_start(shape):
    embedding = fitted(shape)(DATA[shape]).detach()
    torch.testing.assert_close(embedding.square().mean(1), torch.ones(64), atol=1e-4, rtol=0)
    assert embedding.std(0).mean() > 0.3  # an encoder that starts constant hides its input behind unit noise


@given(st.randoms(use_true_random=False))
def test_the_order_of_points_means_nothing(random):
    order = list(range(20))
    random.shuffle(order)
    encoder, clouds = fitted((20, 3)), DATA[20, 3][:4]
    torch.testing.assert_close(encoder(clouds[:, order]), encoder(clouds), atol=1e-5, rtol=1e-4)


def test_every_point_and_every_pixel_patch_can_matter():
    cloud, image = DATA[20, 3][:1].clone(), DATA[12, 16, 3][:1].clone()
    cloud[0, 7] += 1.0
    image[0, 2:6, 3:7] = 255
    assert (fitted((20, 3))(cloud) - fitted((20, 3))(DATA[20, 3][:1])).abs().max() > 1e-2
    assert (fitted((12, 16, 3))(image) - fitted((12, 16, 3))(DATA[12, 16, 3][:1])).abs().max() > 1e-2


def test_a_cloud_far_from_the_origin_is_seen_as_well_as_one_at_it():
    there = DATA[20, 3] + torch.tensor([5.0, -3.0, 2.0])
    encoder, shifted = fitted((20, 3)), fitted((20, 3))
    shifted.fit_scale(there)
    torch.testing.assert_close(shifted(there), encoder(DATA[20, 3]), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_cloud_that_is_not_finite_gives_no_finite_features(bad):
    cloud = DATA[20, 3][:1].clone()
    cloud[0, 3, 1] = bad
    assert not fitted((20, 3))(cloud).isfinite().all()


def test_the_shape_decides_the_encoder_and_others_are_refused():
    assert isinstance(make_encoder("a", (5, 6), 8, 16), CloudEncoder)
    assert isinstance(make_encoder("a", (8, 9, 3), 8, 16), ImageEncoder)
    for shape in [(5,), (5, 4), (0, 3), (8, 9, 1), (4, 9, 3)]:
        with pytest.raises(ConfigError, match="wrist"):
            make_encoder("wrist", shape, 8, 16)
