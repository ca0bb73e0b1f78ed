import json

import numpy as np
import pytest
import torch

from tmrl_ros.config import BaseConfig
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import signature
from tmrl_ros.policy.pretrain import pretrain, shifted
from tmrl_ros.types import Observation

SMALL = BaseConfig(width=32, layers=1, steps=300, batch=64)
SEEING = SMALL.model_copy(update={"embedding": 8, "encoder_width": 16})
SHAPES = {"cloud": (5, 3), "front": (8, 10, 3)}


def observation(seed=0, **changes) -> Observation:
    rng = np.random.default_rng(seed)
    images = {"front": rng.integers(0, 256, (8, 10, 3)).astype(np.uint8)}
    cloud = rng.normal(size=(5, 3)).astype(np.float32)
    values = {"state": rng.normal(size=2).astype(np.float32), "images": images, "cloud": cloud}
    return Observation(seed, **(values | changes))


def seeing(**settings) -> BasePolicy:
    """An untrained base with state, cloud and image, and a last layer that lets its context through."""
    torch.manual_seed(0)
    base = BasePolicy(SEEING.model_copy(update=settings), 2, 2, 3, SHAPES, ["tcp_x_m", "object_x_m"])
    torch.nn.init.normal_(base.net.leave.weight, std=0.3)
    return base.eval()


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


def test_what_its_numbers_mean_is_saved_with_a_base(tmp_path):
    BasePolicy(SMALL, 1, 2, 2, state_names=["x"], action_names=["a", "b"], action_hz=30).save(tmp_path / "base", {})
    loaded = BasePolicy.load(tmp_path / "base")
    assert (loaded.state_names, loaded.action_names, loaded.action_hz) == (("x",), ("a", "b"), 30)
    assert loaded.names_its_state


def test_a_base_that_was_written_before_loads_and_says_nothing(tmp_path):
    BasePolicy(SMALL, 1, 2, 2).save(tmp_path / "base", {})
    file = tmp_path / "base/meta.json"
    new = ("action_names", "action_hz", "meta_sha256")
    meta = {name: value for name, value in json.loads(file.read_text()).items() if name not in new}
    file.write_text(json.dumps(meta | {"meta_sha256": signature(meta)}))
    loaded = BasePolicy.load(tmp_path / "base")
    assert (loaded.action_names, loaded.action_hz, loaded.names_its_state) == ((), 0, False)


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


def test_features_are_the_standardised_state_and_then_each_embedding():
    base, seen = seeing(), [observation(k) for k in range(3)]
    features = base.features(base.inputs(seen))
    assert features.shape == (3, base.feature_dim) == (3, 2 + 8 + 8)
    assert torch.equal(features[:, :2], torch.as_tensor(np.stack([o.state for o in seen])))
    torch.testing.assert_close(features[:, 2:].view(3, 2, 8).square().mean(-1), torch.ones(3, 2), atol=1e-4, rtol=0)


def test_actors_that_see_what_encoders_pool_see_it_standardised_and_the_flow_does_not_see_it(tmp_path):
    seen, narrow, base = [observation(k) for k in range(64)], seeing(), seeing(actor_sees="pooled")
    inputs = base.inputs(seen)
    base.fit_pooled(inputs)
    features, pooled = base.features(inputs), 16 + 16
    assert features.shape == (64, base.feature_dim) == (64, 18 + pooled)
    torch.testing.assert_close(features[:, :18], narrow.features(inputs))
    torch.testing.assert_close(features[:, 18:].mean(0), torch.zeros(pooled), atol=1e-4, rtol=0)
    assert features[:, 18:].std(0).max().item() == pytest.approx(1, abs=1e-3)
    z, sigma, noise = torch.randn(64, 3, 2), torch.full((1,), 0.4), torch.randn(64, base.context_dim)
    torch.testing.assert_close(base.sample(features, z, sigma, noise), narrow.sample(features[:, :18], z, sigma, noise))
    base.save(tmp_path / "base", {})
    assert torch.equal(BasePolicy.load(tmp_path / "base").features(inputs), features)


def test_a_pretrained_base_knows_the_scale_of_what_its_encoders_pool():
    inputs = {name: values.numpy() for name, values in seeing().inputs([observation(k) for k in range(40)]).items()}
    config = SEEING.model_copy(update={"actor_sees": "pooled", "image_shift_px": 2, "steps": 20, "batch": 8})
    base = pretrain(inputs, np.random.default_rng(0).normal(size=(40, 3, 2)).astype(np.float32), config, seed=0)
    pooled = base.features({name: torch.as_tensor(values) for name, values in inputs.items()})[:, base.told_dim :]
    torch.testing.assert_close(pooled.mean(0), torch.zeros(32), atol=1e-3, rtol=0)


def test_images_move_by_whole_pixels_within_the_bound_and_their_border_repeats():
    torch.manual_seed(0)
    images, most_px = torch.arange(6 * 7 * 3, dtype=torch.uint8).view(1, 6, 7, 3).repeat(50, 1, 1, 1), 2
    padded = np.pad(images[0].numpy(), ((most_px,) * 2, (most_px,) * 2, (0, 0)), "edge")
    moves = {(y, x): padded[y : y + 6, x : x + 7] for y in range(5) for x in range(5)}
    met = {next(move for move, moved in moves.items() if np.array_equal(moved, i)) for i in shifted(images, most_px)}
    assert len(met) > 15 and {y for y, _ in met} == {x for _, x in met} == set(range(5))


def test_inputs_come_in_one_order_however_they_are_given():
    for shapes in (SHAPES, dict(reversed(SHAPES.items()))):
        assert list(BasePolicy(SEEING, 1, 1, 2, shapes).shapes) == ["state", "cloud", "front"]


def test_one_observation_gives_the_features_it_has_in_a_batch():
    base, seen = seeing(), [observation(k) for k in range(4)]
    together = base.features(base.inputs(seen))
    alone = torch.cat([base.features(base.inputs([o])) for o in seen])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (observation(cloud=None), ["'cloud'", "state, front", "pre-train without"]),
        (observation(images={"wrist": np.zeros((8, 10, 3), np.uint8)}), ["'front'", "state, cloud, wrist"]),
        (observation(state=np.zeros(3, np.float32)), ["'state'", "[3]", "[2]"]),
        (observation(cloud=np.zeros((6, 3), np.float32)), ["'cloud'", "[6, 3]", "[5, 3]"]),
        (observation(images={"front": np.zeros((8, 10, 3))}), ["'front'", "float64", "uint8 [8, 10, 3]"]),
    ],
)
def test_an_observation_that_lacks_what_the_policy_needs_is_refused_by_name(bad, words):
    with pytest.raises(DataError) as error:
        seeing().inputs([observation(), bad])
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_features_of_less_than_the_policy_needs_are_refused_by_name():
    base = seeing()
    inputs = base.inputs([observation()])
    del inputs["cloud"]
    with pytest.raises(DataError, match="'cloud', but is given state, front"):
        base.features(inputs)
    with pytest.raises(DataError, match="'state': 3"):
        pretrain({"state": np.zeros((3, 1), np.float32)}, np.zeros((4, 2, 1), np.float32), SMALL, seed=0)


@pytest.mark.parametrize("smooth", ["all", "cloud front", "object front"])
def test_gradients_of_the_loss_reach_every_encoder_whatever_is_smoothed(smooth):
    base = seeing(smooth=smooth, clean_share=0.0)
    base.loss(base.inputs([observation(k) for k in range(8)]), torch.randn(8, 3, 2))[0].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in base.encoders.parameters())


def test_at_full_sigma_only_what_stays_clean_tells_the_policy_where_it_is():
    base = seeing(smooth="object cloud front")
    features, z = base.features(base.inputs([observation(0), observation(1)])), torch.randn(1, 3, 2).expand(2, -1, -1)
    noise = torch.randn(1, base.context_dim).expand(2, -1)
    same_tcp = torch.cat([features[:1, :1].expand(2, -1), features[:, 1:]], -1)
    blind = [base.sample(f, z, torch.ones(2), noise) for f in (features, same_tcp)]
    torch.testing.assert_close(blind[1][0], blind[1][1], atol=1e-5, rtol=0)
    assert (blind[0][0] - blind[0][1]).abs().max() > 1e-3
    seen = base.sample(same_tcp, z, torch.zeros(2), noise)
    assert (seen[0] - seen[1]).abs().max() > 1e-3


def test_gradients_reach_the_noise_and_sigma_through_every_input():
    base = seeing().requires_grad_(False)
    features = base.features(base.inputs([observation()]))
    z, sigma = torch.randn(1, 3, 2, requires_grad=True), torch.full((1,), 0.3, requires_grad=True)
    base.sample(features, z, sigma).square().sum().backward()
    assert z.grad.abs().min() > 0 and sigma.grad.abs() > 0


def test_a_policy_smooths_what_the_names_of_its_demonstrations_say():
    states, chunks = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32), np.zeros((64, 2, 1), np.float32)
    config = SMALL.model_copy(update={"steps": 1, "smooth": "object"})
    names = ["tcp_x_m", "object_x_m"]
    assert pretrain({"state": states}, chunks, config, seed=0, state_names=names).context_dim == 1
    with pytest.raises(ConfigError, match="'object'"):
        pretrain({"state": states}, chunks, config, seed=0)


def test_a_base_with_cloud_and_image_loads_bit_for_bit_with_its_shapes(tmp_path):
    base = seeing(smooth="object cloud")
    for encoder, values in zip(base.encoders, base.inputs([observation(k) for k in range(9)]).values(), strict=False):
        encoder.requires_grad_(False).centre.add_(float(values.float().mean()))  # constants that are not the default
    base.save(tmp_path / "base", {"task": "test"})
    loaded, seen, z = BasePolicy.load(tmp_path / "base"), [observation(k) for k in range(4)], torch.randn(4, 3, 2)
    chunks = [
        p.sample(p.features(p.inputs(seen)), z, torch.rand(4, generator=torch.Generator().manual_seed(0)))
        for p in (base, loaded)
    ]
    assert torch.equal(*chunks) and loaded.shapes == {"state": (2,), **SHAPES}
    assert (loaded.feature_dim, loaded.context_dim) == (base.feature_dim, base.context_dim) == (18, 9)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(DataError, match="'cloud'"):
        loaded.inputs([observation(cloud=None)])


def test_a_policy_without_a_state_needs_none(tmp_path):
    BasePolicy(SEEING, 0, 1, 2, {"cloud": (5, 3)}).save(tmp_path / "base", {})
    base = BasePolicy.load(tmp_path / "base")
    seen = observation(state=np.zeros(0, np.float32))
    assert base.features(base.inputs([seen])).shape == (1, base.context_dim) == (1, 8)


NAMED = ["tcp_position_x_m", "tcp_position_y_m", "tcp_position_z_m", "gripper_width_m"]


def beside(**settings):
    """A base that sees a cloud, and four entries of state by name."""
    torch.manual_seed(0)
    config = SEEING.model_copy(update=settings)
    return BasePolicy(config, 4, 1, 2, {"cloud": (5, 6)}, NAMED).eval()


def cloud_and_state(moved_m=0.0):
    generator = torch.Generator().manual_seed(1)
    state, cloud = torch.rand(3, 4, generator=generator), torch.rand(3, 5, 6, generator=generator)
    state[:, :3] += moved_m
    cloud[..., :3] += moved_m
    return {"state": state, "cloud": cloud}


def test_a_cloud_seen_from_the_hand_moves_with_it_and_keeps_its_colours():
    near, far = (beside(cloud_from="tcp_position").features(cloud_and_state(m))[:, 4:] for m in (0.0, 0.3))
    torch.testing.assert_close(near, far, atol=1e-5, rtol=1e-4)
    near, far = (beside().features(cloud_and_state(m))[:, 4:] for m in (0.0, 0.3))
    assert (near - far).abs().max() > 1e-2
    other = cloud_and_state()
    other["cloud"][..., 3:] += 0.3
    base = beside(cloud_from="tcp_position")
    assert (base.features(other) - base.features(cloud_and_state()))[:, 4:].abs().max() > 1e-2


def test_what_clouds_are_seen_from_must_be_in_the_state():
    with pytest.raises(ConfigError, match="cloud_from = 'wrist' needs wrist_x_m in the state, which holds tcp_pos"):
        beside(cloud_from="wrist")


def test_an_encoder_sees_the_state_only_where_it_is_told_to():
    moved = cloud_and_state()
    moved["state"][:, 3] += 1.0
    for told in (False, True):
        base = beside(encoder_sees_state=told)
        change = (base.features(moved) - base.features(cloud_and_state()))[:, 4:].abs().max()
        assert (change > 1e-2) == told


def test_a_base_whose_encoder_sees_the_state_loads_bit_for_bit(tmp_path):
    base = beside(encoder_sees_state=True, cloud_from="tcp_position")
    base.fit_normalisation(cloud_and_state(), torch.rand(3, 2, 1))
    base.save(tmp_path / "base", {})
    torch.testing.assert_close(
        BasePolicy.load(tmp_path / "base").features(cloud_and_state()), base.features(cloud_and_state()), atol=0, rtol=0
    )
