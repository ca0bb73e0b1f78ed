import torch

from tmrl_ros.learner.adam import Adam


def test_moves_as_torchs_adam_does():
    torch.manual_seed(0)
    ours = [torch.randn(5), torch.randn(2)]
    theirs = [p.clone().requires_grad_() for p in ours]
    adam, reference = Adam(ours, 1e-2), torch.optim.Adam(theirs, lr=1e-2)
    for _ in range(20):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = b.grad = torch.randn_like(a)
        adam.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b.detach())


def test_continues_from_its_state():
    p = torch.ones(3)
    p.grad = torch.ones(3)
    adam = Adam([p], 1e-2)
    adam.step()
    q = p.clone()
    q.grad = p.grad
    again = Adam([q], 1e-2)
    again.load_state_dict(adam.state_dict())
    for optimiser in (adam, again):
        optimiser.step()
    assert torch.equal(p, q)
