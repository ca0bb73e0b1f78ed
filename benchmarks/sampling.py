"""Time of one chunk at batch 1, beside a plain re-statement of the reference's small model, and what both have learned.

    python benchmarks/sampling.py [--quick] [--minutes 10]

Both learn the same data: paths around an obstacle, left or right of it, 32 rows, with CSP's smoothing of the context,
in batches of 64. One rule for both: each of RATES is tried for TRY steps and the one with the lowest validation loss is
kept; then the network is trained anew with twice as many steps each time, always with a whole schedule, until twice the
steps improve the validation loss by less than 1 % or the next training would not fit into its minutes of processor
time. Trainings of earlier runs are reused, so that a longer run goes on where a shorter one ended. The loss to compare
is that of paths which neither training nor choice has seen, with the same draws for both.
Both sample in 10 Euler steps, in turn, on one thread; the ratio is of medians.

Writes benchmarks/results/sampling.{md,json,png}. With --quick nothing is trained or written: only times are measured,
and the losses shown are those of the last full run. The last line is {"ratio", "median_ms"}.
"""

import argparse
import json
import os
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
from tmrl_ros.session.plots import BLUE, GREEN, MUTED

RESULTS = Path(__file__).parent / "results"
HORIZON, ACTION, CONTEXT, STEPS = 32, 4, 8, 10
WIDTH, LAYERS = 256, 3  # of ours
RATES, TRY, BATCH, ENOUGH = (5e-4, 1e-3, 2e-3), 100, 64, 0.99
RUNS = RESULTS / "sampling_trainings.json"  # by name, size, rate and steps: equal settings give equal networks
COLOURS = {"reference": MUTED, "ours": BLUE, "ours, 5 steps": GREEN}


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


def fit(net: nn.Module, rate: float, steps: int) -> float:
    """Train; returns processor seconds."""
    context, chunk = paths(50_000, 0)
    g, start = torch.Generator().manual_seed(1), time.thread_time()
    adam = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, steps, pct_start=0.05)
    for _ in range(steps):
        rows = torch.randint(len(chunk), (BATCH,), generator=g)
        adam.zero_grad()
        loss(net, context[rows], chunk[rows], g).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        schedule.step()
    return time.thread_time() - start


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return Reference() if name == "reference" else VelocityNetwork(HORIZON * ACTION, CONTEXT, WIDTH, LAYERS)


def trained(name: str, rate: float, steps: int) -> dict[str, float]:
    """One training from the start: its steps, processor seconds, and losses on paths that it has not seen.

    One that an earlier run made is not made again; remove RUNS to start over.
    """
    runs = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    net = make(name)
    key = f"{name}, {sum(p.numel() for p in net.parameters())} parameters, rate {rate:g}, {steps} steps of {BATCH}"
    if key not in runs:
        runs[key] = _train(net, rate, steps)
        RUNS.write_text(json.dumps(runs, indent=1))
        print(f"{key}: {json.dumps(runs[key])}", flush=True)
    return runs[key]


def _train(net: nn.Module, rate: float, steps: int) -> dict[str, float]:
    row = {"rate": rate, "steps": steps, "seconds": fit(net, rate, steps)}
    with torch.no_grad():
        for kind, seed in (("validation", 2), ("test", 4)):
            row[kind] = loss(net, *paths(8192, seed), torch.Generator().manual_seed(seed + 1)).item()
    return row


def learning(name: str, seconds: float) -> dict:
    """The rule above for one network."""
    tried = [trained(name, rate, TRY) for rate in RATES]
    best = min(tried, key=lambda row: row["validation"])
    rows, converged = [best], False
    while not converged and 2 * rows[-1]["seconds"] <= seconds:
        rows.append(trained(name, best["rate"], 2 * rows[-1]["steps"]))
        seconds -= rows[-1]["seconds"]
        converged = rows[-1]["validation"] > ENOUGH * rows[-2]["validation"]
    parameters = sum(p.numel() for p in make(name).parameters())
    return {"parameters": parameters, "tried": tried, "rows": rows, "converged": converged}


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


def report(learned: dict, durations: dict[str, list[float]]) -> str:
    lines = [
        "| | parameters | rate | training steps | processor time | validation loss | test loss | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, one in learned.items():
        last = one["rows"][-1]
        end = "twice the steps gave less than 1 %" if one["converged"] else "still improving when its minutes were over"
        lines.append(
            f"| {name} | {one['parameters']:,} | {last['rate']:g} | {last['steps']:,} | {last['seconds']:.0f} s | "
            f"{last['validation']:.4f} | {last['test']:.4f} | {end} |"
        )
    lines += ["", "| a chunk at batch 1 | median | p99 |", "|---|---:|---:|"]
    for name, values in durations.items():
        p99 = sorted(values)[int(0.99 * (len(values) - 1))]
        lines.append(f"| {name} | {statistics.median(values):.2f} ms | {p99:.2f} ms |")
    return "\n".join(lines)


def notes(learned: dict, load: list[float]) -> str:
    """How far the figures go."""
    ours, reference = (learned[name]["rows"] for name in ("ours", "reference"))
    equal = [(a["steps"], a["test"], b["test"]) for a in ours for b in reference if a["steps"] == b["steps"]]
    steps, a, b = equal[-1]
    verdict = "no worse" if ours[-1]["test"] <= reference[-1]["test"] else "worse"
    unfinished = [name for name, one in learned.items() if not one["converged"]]
    return (
        f"Rates tried for {TRY} steps each: {', '.join(f'{rate:g}' for rate in RATES)}, the same for both. At the end "
        f"ours ({WIDTH} wide, {LAYERS} blocks) is {verdict} than the reference by test loss; after equal samples, "
        f"{steps:,} steps each, the test losses are {a:.4f} for ours and {b:.4f} for the reference. "
        + (f"Not converged: {', '.join(unfinished)}. " if unfinished else "")
        + f"One seed. Machine load while sampling was timed: {load[0]:.1f} to {load[1]:.1f}."
    )


def plot(learned: dict, durations: dict[str, list[float]], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
    for axis, key, label in ((axes[0], "steps", "training steps"), (axes[1], "seconds", "processor seconds")):
        for name, one in learned.items():
            points = [(row[key], row["test"]) for row in one["rows"]]
            axis.plot(*zip(*points, strict=True), "o-", color=COLOURS[name], label=name, markersize=4)
        axis.set(xscale="log", xlabel=f"{label}, each point a training", ylabel="loss on unseen paths")
        axis.set_title(f"What is learned by {label}", fontsize=10.5, loc="left")
    for name, values in durations.items():
        shares = [(k + 1) / len(values) for k in range(len(values))]
        axes[2].plot(sorted(values), shares, color=COLOURS[name], label=name, linewidth=2)
    axes[2].set(xscale="log", xlabel="ms a chunk, batch 1", ylabel="share of chunks")
    axes[2].set_xticks((2, 5, 10, 20, 40), ("2", "5", "10", "20", "40"))
    axes[2].minorticks_off()
    axes[2].set_title("Time of a chunk", fontsize=10.5, loc="left")
    for axis in axes:
        axis.legend(fontsize=9)
    figure.savefig(path, dpi=110, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="times only, with the losses of the last full run")
    parser.add_argument("--minutes", type=float, default=10, help="processor time for the doublings of each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = RESULTS / "sampling.json"
    if options.quick:
        learned = json.loads(store.read_text()).get("learned", {}) if store.exists() else {}
        print(f"quick: no training; losses, if any, are those of the last full run ({store.name})")
    else:
        learned = {name: learning(name, 60 * options.minutes) for name in ("ours", "reference")}
    ours = make("ours")
    load = [os.getloadavg()[0]]
    nets = {"reference": (make("reference"), STEPS), "ours": (ours, STEPS), "ours, 5 steps": (ours, 5)}
    durations = sampling_ms(nets, 200 if options.quick else 500)
    load.append(os.getloadavg()[0])
    median = {name: statistics.median(values) for name, values in durations.items()}
    last = {"ratio": round(median["ours"] / median["reference"], 4), "median_ms": round(median["ours"], 3)}
    print(report(learned, durations))
    if not options.quick:
        head = "# Time of a chunk\n\n`python benchmarks/sampling.py`, one thread, its processor time.\n\n"
        text = f"{head}{report(learned, durations)}\n\n{notes(learned, load)}\n\n![learning and times](sampling.png)\n"
        (RESULTS / "sampling.md").write_text(text)
        store.write_text(json.dumps(last | {"median": median, "learned": learned, "load": load}, indent=1))
        plot(learned, durations, RESULTS / "sampling.png")
    print(json.dumps(last))


if __name__ == "__main__":
    main()
