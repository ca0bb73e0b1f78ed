import numpy as np
import pytest
import torch

from tmrl_ros.config import BaseConfig
from tmrl_ros.errors import DataError
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.pretrain import pretrain

SMALL = BaseConfig(width=32, layers=1, steps=300, batch=64)


def bimodal(n=512, seed=0):
    """Actions near +s or -s by a coin, with s the state: a marginal that is wider than any conditional."""
    rng = np.random.default_rng(seed)
    states = rng.uniform(0.5, 1.5, (n, 1)).astype(np.float32)
    signs = rng.choice([-1, 1], (n, 1, 1))
    return states, (signs * states[:, None, :]).astype(np.float32).repeat(2, 1)


def test_loss_of_the_untrained_network_is_the_hand_computed_one():
    torch.manual_seed(0)
    policy = BasePolicy(SMALL, 1, 1, 2)  # its last layer is zero, so v = 0 and the loss is E (n - a)^2 = 1 + a^2
    chunk = torch.full((20_000, 2, 1), 0.7)
    loss, _ = policy.loss({"state": torch.zeros(20_000, 1)}, chunk)
    assert loss.item() == pytest.approx(1 + 0.49, abs=0.03)


def test_sampling_a_zero_velocity_returns_the_noise_in_action_units():
    policy = BasePolicy(SMALL, 1, 2, 3)
    policy.action_mean.fill_(0.5)
    policy.action_std.fill_(2.0)
    z = torch.randn(4, 3, 2)
    torch.testing.assert_close(policy.sample(torch.zeros(4, 1), z, torch.zeros(4)), z * 2 + 0.5)


def test_pretraining_learns_both_modes_and_is_reproducible():
    states, chunks = bimodal()
    policy = pretrain({"state": states}, chunks, SMALL, seed=3)
    again = pretrain({"state": states}, chunks, SMALL, seed=3)
    z, one = torch.randn(400, 2, 1), policy.features({"state": torch.ones(400, 1)})
    sampled = policy.sample(one, z, torch.zeros(400))
    assert torch.equal(sampled, again.sample(one, z, torch.zeros(400)))
    assert 0.2 < (sampled[:, 0, 0] > 0).float().mean() < 0.8
    assert sampled.abs().mean().item() == pytest.approx(1.0, abs=0.3)


def test_sigma_widens_the_actions_of_a_csp_base_from_conditional_to_marginal():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(1024, 1)).astype(np.float32)
    policy = pretrain(
        {"state": states}, states[:, None, :].repeat(2, 1), SMALL.model_copy(update={"steps": 800}), seed=0
    )
    z, noise, state = torch.randn(500, 2, 1), torch.randn(500, 1), torch.zeros(500, 1)
    spread = [policy.sample(state, z, torch.full((500,), s), noise)[:, 0, 0].std().item() for s in (0.0, 0.5, 1.0)]
    assert spread[0] < 0.35 and spread[0] < spread[1] < spread[2] and spread[2] > 0.6


def test_saved_policy_loads_bit_for_bit_and_frozen(tmp_path):
    states, chunks = bimodal(64)
    policy = pretrain({"state": states}, chunks, SMALL.model_copy(update={"steps": 3}), seed=0)
    policy.save(tmp_path / "base", {"task": "test"})
    loaded = BasePolicy.load(tmp_path / "base")
    z, sigma = torch.randn(8, 2, 1), torch.rand(8)
    assert torch.equal(policy.sample(torch.ones(8, 1), z, sigma), loaded.sample(torch.ones(8, 1), z, sigma))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "meta"])
def test_damaged_checkpoint_is_refused_in_one_sentence(tmp_path, damage):
    BasePolicy(SMALL, 1, 1, 2).save(tmp_path / "base", {})
    tensors, meta = tmp_path / "base/tensors.safetensors", tmp_path / "base/meta.json"
    data = tensors.read_bytes()
    if damage == "cut":
        tensors.write_bytes(data[:-7])
    elif damage == "flip":
        tensors.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    elif damage == "missing":
        tensors.unlink()
    else:
        meta.write_text(meta.read_text()[:-20])
    with pytest.raises(DataError) as error:
        BasePolicy.load(tmp_path / "base")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
