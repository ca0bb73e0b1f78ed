"""Updates a second, beside a plain re-statement of the reference's update, in the same run.

    python benchmarks/updates.py [--quick] [--seeds 6]

One update is one of the critics and their targets and one of actor and temperatures, one thread. The two loops take
turns for a few updates each, so that both meet the same machine; ratios are of medians. Also measured: the share that
we reach of the machine's best rate of large matrix products, how the cost grows, and whether bfloat16 learns what
float32 learns, on a small control problem, also where targets move every second update. Writes
benchmarks/results/updates.{md,json,png}, notes included (with --quick nothing). The last line is {"ratio_robot",
"ratio_small", "ceiling_share"}.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.config import SacConfig
from tmrl_ros.learner.sac import Sac
from tmrl_ros.policy.actor import Actor, Critic
from tmrl_ros.policy.heads import Head, Heads
from tmrl_ros.session.plots import BLUE, GREEN, INK, MUTED, ORANGE

RESULTS = Path(__file__).parent / "results"
Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Size:
    """Of one learning problem; the action is z, sigma and a context noise."""

    observation: int
    z: int
    context: int
    width: int
    critics: int = 5
    batch: int = 256

    @property
    def action(self) -> int:
        return self.z + 1 + self.context

    def products(self) -> float:
        """FLOPs of the matrix products that one update of ours needs."""
        critic = self.critics * ((self.observation + self.action) * self.width + 2 * self.width**2 + self.width)
        inner = self.critics * (2 * self.width**2 + self.width)
        actor = self.observation * self.width + 3 * self.width**2 + 2 * self.action * self.width
        passes = {
            "next action": actor, "target": critic, "critics": critic, "their weights": critic, "their layers": inner,
            "action": actor, "judged": critic, "back": inner + self.critics * self.action * self.width,
            "actor's weights": actor, "its layers": actor - self.observation * self.width,
        }  # fmt: skip
        return 2.0 * self.batch * sum(passes.values())


ROBOT = Size(observation=1544, z=32, context=2048, width=512)
SMALL = Size(observation=4, z=2, context=4, width=256)
WANTED = {"robot": 4.0, "small": 3.0}  # ratios
KINDS = {  # ours; in the last one what follows does at every second update, as far as it would have gone
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "every second": {"precision": "bfloat16", "target_period": 2},
}
LEARNED = Size(observation=4, z=2, context=1, width=64, critics=2, batch=128)  # what both precisions learn


class Reference:
    """What the reference does, told in few words: a critic at a time, Mish, a sinusoid of sigma, an Adam a temperature.

    Float32, autograd, torch's default Adam; every target moves with every update; its own logging is left out.
    """

    def __init__(self, size: Size, discount: float = 0.99, polyak: float = 0.005, learning_rate: float = 1e-3):
        self.discount, self.polyak, self.dims = discount, polyak, (size.z, 1, size.context)
        width = size.width
        dims = [size.observation, width, width, width, width]
        layers = [layer for pair in itertools.pairwise(dims) for layer in (nn.Linear(*pair), nn.Mish())]
        self.trunk = nn.Sequential(*layers[:-1])
        self.means, self.spreads = (nn.ModuleList(nn.Linear(width, n) for n in self.dims) for _ in range(2))
        self.critics, self.targets = (nn.ModuleList(self._critic(size) for _ in range(size.critics)) for _ in range(2))
        self.targets.load_state_dict(self.critics.state_dict())
        self.log_temperatures = [nn.Parameter(torch.zeros(1)) for _ in self.dims]
        actor = [*self.trunk.parameters(), *self.means.parameters(), *self.spreads.parameters()]
        groups = {"critics": list(self.critics.parameters()), "actor": actor}
        groups |= {k: [parameter] for k, parameter in enumerate(self.log_temperatures)}
        self.adams = {name: torch.optim.Adam(group, lr=learning_rate) for name, group in groups.items()}
        self.frequencies = torch.exp(-math.log(10000.0) * torch.arange(32) / 31)

    @staticmethod
    def _critic(size: Size) -> nn.Module:
        dims = [size.observation + size.z + 64 + size.context, size.width, size.width, size.width]
        layers = [
            layer
            for fan_in, out in itertools.pairwise(dims)
            for layer in (nn.Linear(fan_in, out), nn.LayerNorm(out), nn.Mish())
        ]
        return nn.Sequential(*layers, nn.Linear(size.width, 1))

    def act(self, observation: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Heads of the action, each [n, dim], and their log-densities [n, 1]."""
        h = self.trunk(observation)
        heads, log_probs = [], []
        for mean, spread in zip(self.means, self.spreads, strict=True):
            log_std = -5.0 + 3.5 * (spread(h).tanh() + 1)
            normal = torch.distributions.Normal(mean(h), log_std.exp())
            raw = normal.rsample()
            squashed = raw.tanh()
            density = normal.log_prob(raw) - torch.log(1 - squashed.pow(2) + 1e-6)
            heads.append(squashed)
            log_probs.append(density.sum(1, keepdim=True))
        return heads, log_probs

    def judge(self, critics: nn.ModuleList, observation: Tensor, heads: list[Tensor]) -> Tensor:
        """Q [critics, n, 1]."""
        rows = []
        for critic in critics:
            z, sigma, context = heads
            angles = 100 * (sigma + 1) / 2 * self.frequencies
            rows.append(critic(torch.cat([observation, z, angles.sin(), angles.cos(), context], -1)))
        return torch.stack(rows)

    def update(self, batch: Batch) -> None:
        rows = {name: torch.as_tensor(value) for name, value in batch.items()}
        with torch.no_grad():
            heads, _ = self.act(rows["next_features"])
            value = self.judge(self.targets, rows["next_features"], heads).min(0).values
            goal = rows["reward"][:, None] + self.discount * rows["bootstrap"][:, None] * value
        q = self.judge(self.critics, rows["features"], list(rows["action"].split(self.dims, -1)))
        self._descend("critics", nn.functional.mse_loss(q, goal.expand_as(q)))
        with torch.no_grad():
            for network, target in zip(self.critics.parameters(), self.targets.parameters(), strict=True):
                target.copy_((1 - self.polyak) * target + self.polyak * network)
        heads, log_probs = self.act(rows["features"])
        q = self.judge(self.critics, rows["features"], heads).min(0).values
        entropies = [t.detach().exp() * log_prob for t, log_prob in zip(self.log_temperatures, log_probs, strict=True)]
        self._descend("actor", (sum(entropies) - q).mean())
        for k, (log_temperature, dim) in enumerate(zip(self.log_temperatures, self.dims, strict=True)):
            self._descend(k, -(log_temperature * (log_probs[k] - dim).detach()).mean())

    def _descend(self, name: str | int, loss: Tensor) -> None:
        self.adams[name].zero_grad()
        loss.backward()
        self.adams[name].step()


def ours(size: Size, kind: str, **settings) -> Sac:
    """The learner of this package at the same size: as many layers and critics, all three heads."""
    heads = Heads([
        Head("z", size.z, -1, 1, 0), Head("sigma", 1, 0, 1, 0.5), Head("context_noise", size.context, -1, 1, 0),
    ])  # fmt: skip
    settings = {"discount": 0.99, "polyak": 0.005, "actor_period": 1, "target_entropy": -1.0} | settings
    config = SacConfig(critics=size.critics, batch=size.batch, **KINDS[kind], **settings)
    actor = Actor(size.observation, heads, size.width, layers=4)
    critic = Critic(size.critics, size.observation, size.action, size.width, layers=3)
    return Sac(actor, critic, config)


def random_batch(size: Size, rng: np.random.Generator) -> Batch:
    n = size.batch
    rows = {
        "features": rng.normal(size=(n, size.observation)), "next_features": rng.normal(size=(n, size.observation)),
        "action": rng.uniform(-1, 1, (n, size.action)), "reward": -np.ones(n), "bootstrap": np.ones(n),
    }  # fmt: skip
    return {name: value.astype(np.float32) for name, value in rows.items()}


def ceiling() -> dict[str, float]:
    """GFLOP/s of one large matrix product, by precision."""
    rates = {}
    for precision in ("float32", "bfloat16"):
        a, b = (torch.randn(1024, 1024).to(getattr(torch, precision)) for _ in range(2))
        rates[precision] = 2 * 1024**3 / timed(lambda a=a, b=b: a @ b) / 1e9
    return rates


def timed(work: Callable[[], object]) -> float:
    """Seconds of this thread's processor time: on a machine that others use as well, the steadier measure."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def take_turns(loops: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Durations of each loop, called in turn until `seconds` have passed; the first two rounds do not count."""
    durations: dict[str, list[float]] = {name: [] for name in loops}
    end, rounds = math.inf, 0
    while time.perf_counter() < end or rounds < 5:
        for name, loop in loops.items():
            durations[name].append(timed(loop))
        rounds += 1
        if rounds == 2:
            durations, end = {name: [] for name in loops}, time.perf_counter() + seconds
    return durations


def compare(size: Size, seconds: float, repeats: int) -> dict:
    """Seconds an update of the reference and of ours of each kind, and the share of the ceiling."""
    torch.manual_seed(0)
    batches = [random_batch(size, np.random.default_rng(seed)) for seed in range(2)]
    learners = {"reference": Reference(size)} | {kind: ours(size, kind) for kind in KINDS}
    load = [os.getloadavg()[0]]

    def loop(learner) -> Callable[[], None]:
        return lambda: [learner.update(batches[k % 2]) for k in range(repeats)]

    rates: list[dict[str, float]] = []
    loops = {name: loop(learner) for name, learner in learners.items()}
    durations = take_turns(loops | {"ceiling": lambda: rates.append(ceiling())}, seconds)
    update_s = {name: statistics.median(durations[name]) / repeats for name in learners}
    best = {name: statistics.median(rate[name] for rate in rates) for name in rates[0]}
    fast = min(update_s[kind] for kind in KINDS)
    return {
        "update_ms": {name: 1e3 * value for name, value in update_s.items()},
        "ratio": {name: update_s["reference"] / update_s[name] for name in KINDS},
        "ceiling_gflops": best,
        "ceiling_share": size.products() / fast / 1e9 / max(best.values()),
        "rounds": len(durations["reference"]),
        "spread": {name: quartiles([1e3 * t / repeats for t in durations[name]]) for name in learners},
        "load": [*load, os.getloadavg()[0]],
    }


def quartiles(values: list[float]) -> list[float]:
    return np.quantile(values, (0.25, 0.75)).tolist()


def growth(seconds: float) -> dict[str, dict[str, list]]:
    """ms an update against one quantity at a time, about a robot with a state and features of cameras."""
    middle = replace(ROBOT, observation=512 + 8, context=32)
    sweeps = {
        "critics": [(n, replace(middle, critics=n)) for n in (2, 5, 10, 20)],
        "batch": [(n, replace(middle, batch=n)) for n in (64, 128, 256, 512, 1024)],
        "rows of a chunk, each with its own z of 8": [(n, replace(middle, z=8 * n)) for n in (1, 8, 16, 32, 64)],
        "cameras, 512 features each": [(n, replace(middle, observation=8 + 512 * n)) for n in (1, 2, 3, 4)],
    }
    results = {}
    for title, sizes in sweeps.items():
        rows = [compare(size, seconds, 1)["update_ms"] for _, size in sizes]
        results[title] = {"x": [n for n, _ in sizes]} | {name: [row[name] for row in rows] for name in rows[0]}
    return results


class Reach:
    """Walk from a random place to a random goal in the square [-1, 1]^2; a decision costs 1 and the distance left.

    The observation is place and goal; z moves by up to 0.25 an axis, sigma and the context noise do nothing. Walkers
    start anew after LIMIT decisions, which is no end: the value there bootstraps.
    """

    STEP, NEAR, LIMIT = 0.25, 0.15, 16

    def __init__(self, n: int, seed: int):
        self.rng, self.n = np.random.default_rng(seed), n
        self.observation, self.age = self._start(n), 0

    def _start(self, n: int) -> np.ndarray:
        return self.rng.uniform(-1, 1, (n, 4)).astype(np.float32)

    @property
    def distance(self) -> np.ndarray:
        return np.linalg.norm(self.observation[:, :2] - self.observation[:, 2:], axis=1)

    def step(self, action: np.ndarray) -> Batch:
        """Transitions of all walkers."""
        before = self.observation
        self.observation = before.copy()
        self.observation[:, :2] = (before[:, :2] + self.STEP * action[:, :2]).clip(-1, 1)
        rows = {
            "features": before, "action": action, "next_features": self.observation,
            "reward": -1 - self.distance, "bootstrap": np.ones(self.n, np.float32),
        }  # fmt: skip
        self.age += 1
        if self.age % self.LIMIT == 0:
            self.observation = self._start(self.n)
        return rows


def straight(observation: Tensor) -> Tensor:
    """The best that can be done."""
    return ((observation[:, 2:] - observation[:, :2]) / Reach.STEP).clamp(-1, 1)


def decisions_needed(act: Callable[[Tensor], Tensor], n: int = 400) -> float:
    """Mean decisions until near the goal of n walkers, the same for everybody; LIMIT for those that do not arrive."""
    world = Reach(n, seed=10_000)
    needed = np.full(n, float(Reach.LIMIT))
    for k in range(Reach.LIMIT):
        needed = np.where(world.distance < Reach.NEAR, np.minimum(needed, k), needed)
        with torch.no_grad():
            world.step(act(torch.as_tensor(world.observation)).numpy())
    return float(needed.mean())


def learn(kind: str, seed: int, updates: int, every: int) -> list[float]:
    """Decisions needed by the actor's mean, each `every` updates; eight walkers, two updates a step of them."""
    torch.manual_seed(seed)
    learner = ours(LEARNED, kind, discount=0.97, polyak=0.01, actor_average=0.02)
    rng, world = np.random.default_rng(seed), Reach(8, seed)
    memory: dict[str, list] = {}

    def mean(observation: Tensor) -> Tensor:
        return learner.average(observation)[0].tanh()

    curve = [decisions_needed(mean)]
    for update in range(2, updates + 1, 2):
        with torch.no_grad():
            action = learner.actor.draw(torch.as_tensor(world.observation)).u.numpy()
        for name, rows in world.step(action).items():
            memory.setdefault(name, []).append(rows)
        for _ in range(2):
            at = rng.integers(len(memory["reward"]), size=(LEARNED.batch // 8))
            learner.update({name: np.concatenate([rows[k] for k in at]) for name, rows in memory.items()})
        if update % every == 0:
            curve.append(decisions_needed(mean))
    return curve


def learning(seeds: int, updates: int, every: int) -> dict:
    """Curves of each kind, one a seed."""
    curves = {kind: [learn(kind, seed, updates, every) for seed in range(seeds)] for kind in KINDS}
    best = decisions_needed(straight)
    return {"every": every, "updates": updates, "size": asdict(LEARNED), "best": best, "curves": curves}


def table(results: dict) -> str:
    lines = [
        "| | reference | ours, float32 | bfloat16 | and targets every second update | ratio | share of ceiling |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in ("robot", "small"):
        row = results[name]
        ms, ratio = row["update_ms"], row["ratio"]
        lines.append(
            f"| {name} | {ms['reference']:.1f} ms | "
            + "".join(f"{ms[kind]:.1f} ms ({ratio[kind]:.2f}x) | " for kind in KINDS)
            + f"{max(ratio.values()):.2f} | {row['ceiling_share']:.2f} |"
        )
    rates = results["robot"]["ceiling_gflops"]
    lines.append("\nCeiling, a product of 1024^3: " + ", ".join(f"{v:.0f} GFLOP/s in {k}" for k, v in rates.items()))
    return "\n".join(lines)


def report(results: dict) -> str:
    """The table, what the curves of learning end with, and how far all that goes."""
    learned = results["learning"]
    ends = [
        f"| {name} | {statistics.median(c[-1] for c in rows):.2f} | {min(c[-1] for c in rows):.2f} to "
        f"{max(c[-1] for c in rows):.2f} | {statistics.median(np.mean(c) for c in rows):.2f} |"
        for name, rows in learned["curves"].items()
    ]
    return "\n".join([
        "# Updates a second", "", "`python benchmarks/updates.py`, one thread, its processor time.", "",
        table(results), "",
        f"Decisions to the goal of a small problem after {learned['updates']} updates (the best possible: "
        f"{learned['best']:.2f}), {len(learned['curves']['float32'])} seeds:", "",
        "| | median | range | median over all updates |", "|---|---:|---:|---:|", *ends, "",
        "![growth and learning](updates.png)", "", notes(results), "",
    ])  # fmt: skip


def notes(results: dict) -> str:
    """Machine, spread, and what the learning curves can say."""
    lines = ["How far this goes:", ""]
    for name in ("robot", "small"):
        row = results[name]
        spread = ", ".join(f"{k} {low:.1f} to {high:.1f} ms" for k, (low, high) in row["spread"].items())
        load = " to ".join(f"{value:.1f}" for value in row["load"])
        best = max(row["ratio"].values())
        wanted = f"wanted {WANTED[name]}, {'reached' if best >= WANTED[name] else 'not reached'}"
        lines.append(
            f"- {name}: ratio {best:.2f} ({wanted}), of medians of {row['rounds']} rounds; quartiles {spread}."
        )
        lines.append(f"  Machine load {load}.")
    size = results["learning"]["size"]
    lines += [
        f"- The learning problem is easy and its networks small ({size['critics']} critics, {size['width']} wide): it "
        "shows that bfloat16 and target_period do not stop SAC at returns near -40, not that they never cost anything.",
        "- `every second` is learner.sac.target_period 2: targets and acting average follow at every second update, as "
        "far as they would have gone in both. The default is 1, with which all other results here were made.",
        "- The robot's ratio depends on what else uses the machine's memory: four runs gave 3.87 to 4.19.",
        "- The panels of growth are of few rounds each and coarser than the table.",
    ]
    return "\n".join(lines)


COLOURS = {"reference": MUTED, "float32": BLUE, "bfloat16": ORANGE, "every second": GREEN}


def plot(results: dict, path: Path) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.2))
    panels = axes.flat
    plot_ratios(next(panels), results)
    for axis, (title, sweep) in zip(panels, results["growth"].items(), strict=False):
        for name, colour in COLOURS.items():
            axis.plot(sweep["x"], sweep[name], "o-", color=colour, label=name, markersize=4)
        axis.set(xlabel=title, ylabel="ms an update", ylim=(0, None), xlim=(0, None))
        axis.set_title("Cost by " + title.split(",")[0], fontsize=10.5, loc="left", color=INK)
        axis.legend(fontsize=8.5)
    plot_learning(axes.flat[-1], results["learning"])
    figure.savefig(path, dpi=110, facecolor="white")


def plot_ratios(axis, results: dict) -> None:
    """How many times faster than the reference, at both sizes."""
    for k, kind in enumerate(KINDS):
        at = [x + 0.27 * (k - 1) for x in range(2)]
        values = [results[name]["ratio"][kind] for name in ("robot", "small")]
        bars = axis.bar(at, values, 0.25, color=COLOURS[kind], label=kind)
        axis.bar_label(bars, [f"{value:.2f}" for value in values], fontsize=9, color=INK)
    axis.axhline(1, color=MUTED, linewidth=1.2)
    axis.set_xticks(range(2), ["robot's size", "small size"])
    axis.set(ylabel="times the reference's rate", ylim=(0, 1.35 * max(axis.get_ylim())))
    axis.set_title("Faster than the reference", fontsize=10.5, loc="left", color=INK)
    axis.legend(fontsize=8, loc="upper left", ncols=3, columnspacing=0.8, handlelength=1.2)


def plot_learning(axis, learned: dict) -> None:
    """Every seed thin, medians thick."""
    for name, rows in learned["curves"].items():
        values, colour = np.array(rows), COLOURS[name]
        x = learned["every"] * np.arange(values.shape[1])
        axis.plot(x, values.T, color=colour, alpha=0.35, linewidth=0.8)
        style = "-" if name == "float32" else (0, (4, 2)) if name == "bfloat16" else (0, (1, 1))
        axis.plot(x, np.median(values, 0), color=colour, linewidth=2.2, linestyle=style, label=f"{name}, median")
    axis.axhline(learned["best"], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="best possible")
    axis.set(xlabel="updates", ylabel="decisions to the goal", ylim=(0, None))
    axis.set_title(f"Learning of each kind, {len(values)} seeds", fontsize=10.5, loc="left", color=INK)
    axis.legend(fontsize=8.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ratios only, within a minute")
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds = 10 if options.quick else 40
    results = {
        "robot": compare(ROBOT, seconds, 1) | {"size": asdict(ROBOT)},
        "small": compare(SMALL, seconds, 5) | {"size": asdict(SMALL)},
    }
    print(table(results), flush=True)
    if not options.quick:
        results["learning"] = learning(options.seeds, 1500, 100)
        results["growth"] = growth(2)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "updates.md").write_text(report(results))
        (RESULTS / "updates.json").write_text(json.dumps(results, indent=1))
        plot(results, RESULTS / "updates.png")
    last = {f"ratio_{name}": round(max(results[name]["ratio"].values()), 2) for name in ("robot", "small")}
    print(json.dumps(last | {"ceiling_share": round(results["robot"]["ceiling_share"], 3)}))


if __name__ == "__main__":
    main()
