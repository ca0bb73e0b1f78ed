import copy

import pytest
import torch
from torch.nn import functional as F

from tmrl_ros.policy import ensemble as module
from tmrl_ros.policy.ensemble import Ensemble

PRECISIONS = {torch.float32: 1e-5, torch.bfloat16: 0.1}


@pytest.fixture
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    return Ensemble(3, [4, 16, 16, 2])


def test_equals_its_members_run_one_at_a_time(ensemble):
    x = torch.randn(5, 4)
    for member, out in enumerate(ensemble(x)):
        w0, b0, w1, b1, w2, b2 = (part[member] for part in ensemble.parts())
        h = F.layer_norm(x @ w0 + b0, (16,)).relu()
        h = F.layer_norm(h @ w1 + b1, (16,)).relu()
        torch.testing.assert_close(out, h @ w2 + b2)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_pull_back_gives_the_gradients_that_autograd_gives(ensemble, precision, large, monkeypatch):
    x, g = torch.randn(256, 4, requires_grad=True), torch.randn(3, 256, 2)
    by_theta, by_x = torch.autograd.grad(ensemble(x), [ensemble.theta, x], g)
    ensemble.precision, ensemble.theta.grad = precision, torch.full_like(ensemble.theta, 9.0)
    if large:
        monkeypatch.setattr(module, "LARGE", 10)
    with torch.no_grad():
        _, trace = ensemble.trace(x[:, :1], x[:, 1:])
        columns = ensemble.pull_back(trace, g, parameters=True, inputs=slice(1, 3))
    assert columns.dtype == torch.float32
    for ours, autograds in ((ensemble.gradient, by_theta), (columns, by_x[:, 1:3])):
        assert (ours - autograds).norm() <= PRECISIONS[precision] * autograds.norm()


@pytest.mark.parametrize("large", [False, True])
def test_traces_of_the_same_first_columns_are_those_made_one_by_one(ensemble, large, monkeypatch):
    if large:
        monkeypatch.setattr(module, "LARGE", 10)
    first, seconds, g = torch.randn(64, 1), torch.randn(2, 64, 3), torch.randn(3, 64, 2)
    ensemble.theta.grad = torch.zeros_like(ensemble.theta)
    with torch.no_grad():
        for second, (out, trace) in zip(seconds, ensemble.trace_each(first, *seconds), strict=True):
            expected, alone = ensemble.trace(first, second)
            torch.testing.assert_close(out, expected)
            gradients = []
            for each in (trace, alone):
                columns = ensemble.pull_back(each, g, parameters=True, inputs=slice(1, 4))
                gradients.append((columns, ensemble.theta.grad.clone()))
            for ours, theirs in zip(*gradients, strict=True):
                torch.testing.assert_close(ours, theirs)


def test_leaves_the_gradient_alone_unless_asked(ensemble):
    ensemble.theta.grad = torch.full_like(ensemble.theta, 9.0)
    with torch.no_grad():
        _, trace = ensemble.trace(torch.randn(8, 4))
        assert ensemble.pull_back(trace, torch.ones(3, 8, 2)) is None
    assert (ensemble.theta.grad == 9.0).all()


def test_a_copy_and_a_replaced_parameter_are_seen(ensemble):
    x = torch.randn(5, 4)
    with torch.no_grad():
        before = ensemble(x)
        twin = copy.deepcopy(ensemble)
        twin.theta.mul_(0.0)
        assert torch.equal(ensemble(x), before)
        assert (twin(x) == 0).all()
        ensemble.theta.data = torch.zeros_like(ensemble.theta)
        assert (ensemble(x) == 0).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.theta.mul_(0.5),
        lambda e: e.parts()[0].zero_(),
        lambda e: e.load_state_dict({"theta": torch.ones_like(e.theta)}),
        lambda e: setattr(e.theta, "data", torch.zeros_like(e.theta)),
    ],
)
def test_the_kept_bfloat16_copy_follows_every_change_of_theta(ensemble, change):
    x, ensemble.precision = torch.randn(5, 4), torch.bfloat16
    with torch.no_grad():
        before = ensemble(x)
        change(ensemble)
        fresh = Ensemble(3, [4, 16, 16, 2])
        fresh.precision = torch.bfloat16
        fresh.theta.copy_(ensemble.theta)
        assert torch.equal(ensemble(x), fresh(x)) and not torch.equal(ensemble(x), before)
        assert torch.equal(copy.deepcopy(ensemble)(x), fresh(x))


def test_output_in_bfloat16_is_near_that_in_float32(ensemble):
    x = torch.randn(64, 4)
    exact = ensemble(x)
    ensemble.precision = torch.bfloat16
    out = ensemble(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, exact, rtol=0.05, atol=0.05)
