import pytest
import torch

from tmrl_ros.learner import adam as module
from tmrl_ros.learner.adam import Adam


def test_moves_as_torchs_adam_does():
    torch.manual_seed(0)
    ours = [torch.randn(5), torch.randn(2)]
    theirs = [p.clone().requires_grad_() for p in ours]
    adam, reference = Adam(ours, 1e-2), torch.optim.Adam(theirs, lr=1e-2)
    for _ in range(20):
        for b in theirs:
            b.grad = torch.randn_like(b)
        adam.step([b.grad for b in theirs])
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b.detach())


def test_continues_from_its_state():
    p, gradient = torch.ones(3), torch.ones(3)
    adam = Adam([p], 1e-2)
    adam.step([gradient])
    q = p.clone()
    again = Adam([q], 1e-2)
    again.load_state_dict(adam.state_dict())
    for optimiser in (adam, again):
        optimiser.step([gradient])
    assert torch.equal(p, q)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_blocks_give_bit_for_bit_what_one_call_gives(precision, monkeypatch):
    torch.manual_seed(0)
    start, gradients = torch.randn(1000), torch.randn(5, 1000).to(precision)
    ends = []
    for size in (64, 1000):
        monkeypatch.setattr(module, "BLOCK", size)
        p, average = start.clone(), start.clone()
        adam = Adam([p], 1e-2)
        for gradient in gradients:
            pairs = [*zip(module.blocks(average), module.blocks(p), strict=True)]
            adam.step([gradient], lambda n, pairs=pairs: pairs[n][0].lerp_(pairs[n][1], 0.1))
        ends.append((p, average))
    for whole, in_blocks in zip(*ends, strict=True):
        assert torch.equal(whole, in_blocks)
