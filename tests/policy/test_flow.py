import pytest
import torch

from tmrl_ros.policy.flow import VelocityNetwork


@pytest.fixture
def net() -> VelocityNetwork:
    torch.manual_seed(0)
    net = VelocityNetwork(6, 3, 16, 2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # blocks start as the identity, which would hide their part
    return net


@pytest.mark.parametrize("sigmas", [1, 5])
def test_integrate_takes_the_euler_steps_of_the_velocity(net, sigmas):
    noise, sigma = torch.randn(5, 6, requires_grad=True), torch.rand(sigmas, requires_grad=True)
    x, context, steps = noise, torch.randn(5, 3), 4
    for k in range(steps):
        x = x - net(x, torch.full((5,), 1 - k / steps), context, sigma.expand(5)) / steps
    ours = net.integrate(noise, context, sigma, steps)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)
    for a, b in zip(*(torch.autograd.grad(out.sum(), [noise, sigma]) for out in (ours, x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_velocity_depends_on_flow_time_and_on_sigma(net):
    x, context, half = torch.randn(1, 6), torch.randn(1, 3), torch.full((1,), 0.5)
    at = net(x, half, context, half)
    assert not torch.allclose(at, net(x, half + 0.1, context, half))
    assert not torch.allclose(at, net(x, half, context, half + 0.1))
