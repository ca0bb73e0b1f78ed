"""Time of one chunk at batch 1, beside a plain re-statement of the reference's small model, at equal validation loss.

    python benchmarks/sampling.py [--quick]

Both are trained for as much processor time on the same data: paths around an obstacle, left or right of it, 32 rows,
with CSP's smoothing of the context. The loss printed is that of held-out paths, with the same draws for both. Both
sample in 10 Euler steps, in turn, on one thread; the ratio is of medians.
Writes benchmarks/results/sampling.{md,json,png} (with --quick nothing). The last line is {"ratio", "median_ms"}.
"""

import argparse
import copy
import json
import statistics
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmrl_ros.policy.flow import VelocityNetwork, sinusoid
from tmrl_ros.policy.schedule import smooth

RESULTS = Path(__file__).parent / "results"
HORIZON, ACTION, CONTEXT, STEPS = 32, 4, 8, 10


class ReferenceBlock(nn.Module):
    """Self-attention and an MLP of four times the width over tokens, each shifted, scaled and gated by `told`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.told = nn.Linear(2 * width, 6 * width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.told(F.silu(told))[:, None].chunk(6, -1)
        normed = F.layer_norm(x, x.shape[-1:]) * (1 + scale1) + shift1
        q, k, v = self.attention_in(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate1 * self.attention_out(mixed)
        return x + gate2 * self.mlp(F.layer_norm(x, x.shape[-1:]) * (1 + scale2) + shift2)


class Reference(nn.Module):
    """What the reference's small model does: a token a row, 4 layers, 4 heads; tau, sigma and context by AdaLN.

    Everything is computed anew at every Euler step.
    """

    def __init__(self, width: int = 128, layers: int = 4, heads: int = 4):
        super().__init__()
        half = width // 2
        self.width = width
        self.times = nn.Sequential(nn.Linear(2 * width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))
        self.context = nn.Sequential(nn.Linear(CONTEXT, half), nn.Mish(), nn.Linear(half, width))
        self.enter = nn.Sequential(nn.Linear(ACTION, half), nn.Mish(), nn.Linear(half, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, HORIZON, width))
        self.blocks = nn.ModuleList(ReferenceBlock(width, heads) for _ in range(layers))
        self.last, self.head = nn.Linear(2 * width, 2 * width), nn.Linear(width, width)
        self.leave = nn.Sequential(nn.Linear(width, half), nn.Mish(), nn.Linear(half, ACTION))

    def forward(self, x: Tensor, tau: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        times = self.times(torch.cat([sinusoid(tau, self.width), sinusoid(sigma, self.width)], -1))
        told = torch.cat([times, self.context(context)], -1)
        h = self.enter(x.unflatten(-1, (HORIZON, ACTION))) + self.place
        for block in self.blocks:
            h = block(h, told)
        shift, scale = self.last(F.silu(told))[:, None].chunk(2, -1)
        return self.leave(self.head(F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift)).flatten(1)

    def integrate(self, x: Tensor, context: Tensor, sigma: Tensor, steps: int) -> Tensor:
        for k in range(steps):
            tau = torch.full_like(sigma, 1 - k / steps)
            x = x - self(x, tau, context, sigma) / steps
        return x


def paths(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Contexts [n, 8] and standardised chunks [n, 32 * 4] of steps and a gripper, around an obstacle on either side.

    A context is start, goal and obstacle in the plane, its size, and which way is blocked (0: neither).
    """
    g = torch.Generator().manual_seed(seed)
    start, goal = (torch.rand(n, 2, generator=g) * 2 - 1 for _ in range(2))
    size = 0.2 + 0.3 * torch.rand(n, 1, generator=g)
    blocked = torch.randint(-1, 2, (n, 1), generator=g).float()
    side = torch.where(blocked == 0, torch.randint(0, 2, (n, 1), generator=g) * 2.0 - 1, -blocked)
    along = goal - start
    across = torch.stack([-along[:, 1], along[:, 0]], -1) / along.norm(dim=1, keepdim=True).clamp(min=0.1)
    haste = 0.7 + 0.6 * torch.rand(n, 1, generator=g)
    t = torch.linspace(0, 1, HORIZON + 1)[None] ** haste
    bend = (size * side)[:, None] * (t * torch.pi).sin()[..., None]
    place = start[:, None] + t[..., None] * along[:, None] + bend * across[:, None]
    steps = place.diff(dim=1) + 0.003 * torch.randn(n, HORIZON, 2, generator=g)
    height = (t[:, 1:, None] * torch.pi).cos() * size[:, None]
    grip = (t[:, 1:, None] > 0.9).float() * 2 - 1
    chunk = torch.cat([steps, height, grip], -1)
    chunk = (chunk - chunk.mean((0, 1))) / chunk.std((0, 1))
    context = torch.cat([start, goal, start + along / 2, size * 4 - 1.4, blocked], -1)
    return 2 * context, chunk.flatten(1)


def loss(net: nn.Module, context: Tensor, chunk: Tensor, g: torch.Generator) -> Tensor:
    """CSP's flow-matching loss; half of the samples at sigma = 0."""
    n = len(chunk)
    noise, tau = torch.randn(chunk.shape, generator=g), torch.rand(n, generator=g)
    sigma = torch.rand(n, generator=g) * (torch.rand(n, generator=g) < 0.5)
    context = smooth(context, sigma, torch.randn(context.shape, generator=g), "cosine")
    x = tau[:, None] * noise + (1 - tau[:, None]) * chunk
    return (net(x, tau, context, sigma) - (noise - chunk)).square().mean()


def fit(net: nn.Module, rate: float, steps: int, batch: int) -> float:
    """Train; returns processor seconds."""
    context, chunk = paths(20_000, 0)
    g, start = torch.Generator().manual_seed(1), time.thread_time()
    adam = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, steps, pct_start=0.05)
    for _ in range(steps):
        rows = torch.randint(len(chunk), (batch,), generator=g)
        adam.zero_grad()
        loss(net, context[rows], chunk[rows], g).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        schedule.step()
    return time.thread_time() - start


def train(net: nn.Module, rate: float, seconds: float, batch: int = 64) -> tuple[int, float]:
    """As many steps as fit into `seconds` of processor time; returns them and the loss on held-out paths."""
    steps = max(20, int(seconds / (fit(copy.deepcopy(net), rate, 8, batch) / 8)))
    fit(net, rate, steps, batch)
    with torch.no_grad():
        return steps, loss(net, *paths(4096, 2), torch.Generator().manual_seed(3)).item()


@torch.no_grad()
def sampling_ms(nets: dict[str, tuple[nn.Module, int]], rounds: int, n: int = 1) -> dict[str, list[float]]:
    """Durations of a chunk, in turn; each net with its number of Euler steps."""
    x, context, sigma = torch.randn(n, HORIZON * ACTION), torch.randn(n, CONTEXT), torch.full((n,), 0.2)
    durations: dict[str, list[float]] = {name: [] for name in nets}
    for turn in range(rounds + 3):
        for name, (net, steps) in nets.items():
            start = time.thread_time()
            net.integrate(x, context, sigma, steps)
            if turn >= 3:
                durations[name].append(1e3 * (time.thread_time() - start))
    return durations


def report(trained: dict, durations: dict[str, list[float]]) -> str:
    lines = ["| | parameters | training steps | held-out loss |", "|---|---:|---:|---:|"]
    for name, (net, steps, value) in trained.items():
        lines.append(f"| {name} | {sum(p.numel() for p in net.parameters()):,} | {steps} | {value:.4f} |")
    lines += ["", "| a chunk at batch 1 | median | p99 |", "|---|---:|---:|"]
    for name, values in durations.items():
        p99 = sorted(values)[int(0.99 * (len(values) - 1))]
        lines.append(f"| {name} | {statistics.median(values):.2f} ms | {p99:.2f} ms |")
    return "\n".join(lines)


def plot(durations: dict[str, list[float]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, values in durations.items():
        axis.plot(sorted(values), [(k + 1) / len(values) for k in range(len(values))], label=name)
    axis.set(xscale="log", xlabel="ms a chunk, batch 1", ylabel="share of chunks")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ends within a minute")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = {"reference": Reference(), "ours": VelocityNetwork(HORIZON * ACTION, CONTEXT, 256, 3)}
    rates = {"reference": 1e-3, "ours": 2e-3}  # ours after four short trials at 1e-3 to 3e-3, the reference's untuned
    trained = {name: (net, *train(net, rates[name], 8 if options.quick else 40)) for name, net in nets.items()}
    steps = {"reference": (nets["reference"], STEPS), "ours": (nets["ours"], STEPS), "ours, 5 steps": (nets["ours"], 5)}
    durations = sampling_ms(steps, 50 if options.quick else 500)
    median = {name: statistics.median(values) for name, values in durations.items()}
    last = {"ratio": round(median["ours"] / median["reference"], 4), "median_ms": round(median["ours"], 3)}
    print(report(trained, durations))
    if not options.quick:
        losses = {name: {"steps": steps, "loss": value} for name, (_, steps, value) in trained.items()}
        head = (
            "# Time of a chunk\n\n`python benchmarks/sampling.py`, one thread, its processor time; 40 s of training\n\n"
        )
        (RESULTS / "sampling.md").write_text(head + report(trained, durations) + "\n")
        (RESULTS / "sampling.json").write_text(json.dumps(last | {"median": median, "trained": losses}, indent=1))
        plot(durations, RESULTS / "sampling.png")
    print(json.dumps(last))


if __name__ == "__main__":
    main()
