import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.config import ActorConfig
from tmrl_ros.policy.actor import Actor
from tmrl_ros.policy.heads import make_heads

EVERY = ("z", "sigma", "context_noise", "residual")


def heads(*names, **settings):
    return make_heads(ActorConfig(heads=" ".join(names), **settings), 4, 16, 8, 3)


@pytest.mark.parametrize(
    ("settings", "dims"),
    [({}, [4, 1, 3, 4]), ({"z_chunk": True}, [64, 1, 3, 4]), ({"residual_chunk": True}, [4, 1, 3, 32])],
)
def test_heads_have_the_sizes_of_what_they_choose(settings, dims):
    assert heads(*EVERY, **settings).dims == dims
    assert heads("action").dims == [32]


@given(st.lists(st.floats(-1, 1, width=32), min_size=12, max_size=12))
def test_u_undoes_values(u):
    every = heads(*EVERY)
    u = torch.tensor(u)[None]
    torch.testing.assert_close(every.u(every.values(u)), u, atol=1e-5, rtol=1e-5)


def test_an_untrained_actor_is_at_the_start_of_every_head_and_all_stay_in_their_bounds():
    every = heads(*EVERY, sigma_max=0.3, sigma_start=0.2, z_max=1.5, context_noise_max=0.5, residual_max=0.1)
    actor = Actor(3, every, 128)
    quiet = every.values(actor.sample(torch.randn(500, 3), torch.zeros(500, 12))[0])
    assert quiet["sigma"].mean().item() == pytest.approx(0.2, abs=0.02)
    assert all(abs(quiet[name].mean().item()) < 0.1 for name in ("z", "context_noise", "residual"))
    wild = every.values(actor.sample(torch.randn(500, 3) * 100, torch.randn(500, 12) * 10)[0])
    bounds = {"z": 1.5, "context_noise": 0.5, "residual": 0.1}
    assert all(wild[name].abs().max() <= bound * 1.0001 for name, bound in bounds.items())
    assert wild["sigma"].min() >= 0 and wild["sigma"].max() <= 0.3001


def test_a_head_that_is_not_asked_for_is_no_part_of_u():
    assert heads("z", sigma_start=0.2).names() == ["z"] and heads("z").dim == 4
