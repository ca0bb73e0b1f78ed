"""Published ground: OGBench's pointmaze and cube-single after the TMRL reference; TMRL against DSRL and RLPD.

    .venv/bin/pip install -r requirements-bench.txt
    python benchmarks/on_ogbench.py [--quick] [--seeds 0 1 2] [--jobs 1] [--env pointmaze] [--methods tmrl dsrl rlpd]

pointmaze: demonstrations in pointmaze-medium, fine-tuning on the five published tasks of the larger pointmaze-large,
whose goals no demonstration had. (The reference goes from large to giant.) Goal radius 1.0, as in OGBench 1.2.2 and the
reference; the state is x, y and the goal, and all of it is smoothed. As in the reference, the goal that the base policy
is told of a demonstrated row is the end of the whole trajectory of 1000 rows, in which the expert was given many goals.

cube: cube-single throughout, demonstrations of `play`, fine-tuning on its five published tasks. The state is OGBench's
28 numbers and the goal, which alone is smoothed. As in the reference, which takes OGBench's oracle_reps of the same
row, the goal that the base is told is the cube's own position at that time: a plain flow cannot tell goal from cube.

cube_told: the same with the planner's own goals, to see how much of the outcome is due to that.

OGBench's data cannot be downloaded here: its own environments and planners make it (benchmarks/ground/worlds.py).
Reward -1 for each decision and 0 at success; time-outs bootstrap. All methods share demonstrations, decisions, start
states, networks and evaluation, which is greedy and on start states that training never draws. RLPD's actor chooses the
executed rows of a chunk, half of its batches are demonstrations with the goals that the expert had, and it makes as
many updates as the others rather than 20 a decision. No run is left out; settings were chosen on seeds from 10 up. Each
run goes into benchmarks/results/ogbench/; one that is there with the same settings is not done again.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from scipy.stats import t as student

from benchmarks.ground.training import Budget, Run
from benchmarks.ground.worlds import Demos, World, cube_as_goal, cube_state, end_as_goal, maze_state, navigate, play
from tmrl_ros.config import METHODS, BaseConfig
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.dial import measure_dial
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.session.summary import wilson

RUNS, RESULTS = Path("runs/ogbench"), Path(__file__).parent / "results"
RECORDS = RESULTS / "ogbench"  # a file a run
SHOWN = ("tmrl", "dsrl", "rlpd")
WORLDS = {
    "pointmaze": World(
        "pointmaze-large-v0",
        limit=1000,
        horizon=32,
        execution=20,
        rows=100_000,
        state=maze_state,
        collect=navigate("pointmaze-medium-v0"),
        label=end_as_goal,
        actor={"sigma_max": 1.0, "sigma_start": 0.5},  # seed 10: .80 from there and from .9, .04 from .05
        sac={"discount": 0.98, "updates_per_decision": 3, "actor_q": "mean"},
    ),
    "cube": World(
        "cube-single-v0",
        limit=200,
        horizon=16,
        execution=8,
        rows=40_000,
        state=cube_state,
        collect=play("cube-single-v0"),
        label=cube_as_goal,
        base={"smooth": "state[28:31]"},
        actor={"z_max": 0.75, "sigma_max": 1.0, "sigma_start": 0.5},  # a z of 1.5 in every row spoils the grasp
        sac={"discount": 0.95, "updates_per_decision": 3, "actor_q": "mean"},
    ),
}
WORLDS["cube_told"] = replace(WORLDS["cube"], label=np.asarray)
BUDGETS = {
    "pointmaze": Budget(12_000, warmup=1000),
    "cube": Budget(12_000, warmup=1500, arenas=5),
    "cube_told": Budget(6_000, warmup=1500, arenas=5),
}
QUICK = Budget(20, evaluations=1, episodes=2, final_episodes=2, arenas=2, warmup=10)


def quick(world: World) -> World:
    """The same world with next to no demonstrations and pre-training."""
    sac = world.sac | {"updates_per_decision": 1, "batch": 32}
    return replace(world, rows=2000, limit=world.limit // 5, base=world.base | {"steps": 50}, sac=sac)


def run(folder: Path, records: Path, world: World, method: str, seed: int, budget: Budget) -> dict:
    """One run, unless it is done with these settings; demonstrations and bases lie in `folder`."""
    torch.set_num_threads(1)
    file, settings = records / f"{folder.name}_{method}.json", _settings(world) | {"budget": asdict(budget)}
    if file.exists() and (done := json.loads(file.read_text()))["settings"] == settings:
        return done
    began = time.process_time()
    folder.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    demos = _demos(folder, world, seed)
    base = _base(folder, world, METHODS[method].base_kind, demos, seed)
    dial = measure_dial(
        base, {"state": world.label(demos.states)[:: len(demos.states) // 50]}, demos.chunks(world.horizon)
    )
    outcome = Run(world, method, base, demos, seed, budget).finetune()
    outcome |= {"method": method, "seed": seed, "settings": settings, "dial": dial, "demonstrations": len(demos.ends)}
    outcome["cpu_s"] = round(time.process_time() - began, 1)
    file.write_text(json.dumps(outcome))
    rates = " ".join(f"{rate:.2f}" for rate in _rates(outcome))
    print(f"{folder.name} {method}: {rates}, {outcome['cpu_s']:.0f} s of processor time", flush=True)
    return outcome


def _settings(world: World) -> dict[str, Any]:
    """What tells one world from another, as JSON takes it."""
    return json.loads(json.dumps({key: value for key, value in vars(world).items() if not callable(value)}))


def _demos(folder: Path, world: World, seed: int) -> Demos:
    """Demonstrations that the methods of one seed share."""
    file = folder / f"demos_{world.rows}_{world.horizon}.npz"
    if not file.exists():
        part = file.with_name(f"{os.getpid()}_{file.name}")  # runs side by side may both make them
        np.savez(part, **vars(world.demos(seed)))
        part.rename(file)
    with np.load(file) as arrays:
        return Demos(**arrays)


def _base(folder: Path, world: World, kind: str, demos: Demos, seed: int) -> BasePolicy:
    """The base policy that methods of one kind and seed share."""
    config = BaseConfig(**world.base, kind=kind)
    digest = zlib.crc32(json.dumps([world.rows, world.horizon, config.model_dump()]).encode())
    at = folder / f"base_{kind}_{digest:08x}"
    if not at.exists():
        inputs = {"state": world.label(demos.states)[demos.chunked]}
        pretrain(inputs, demos.chunks(world.horizon), config, seed).save(at, {"seed": seed})
    return BasePolicy.load(at)


def _rates(outcome: dict) -> list[float]:
    return [point["successes"] / point["episodes"] for point in outcome["curve"]]


def mean_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval over seeds by Student's t, within [0, 1]; one seed says nothing of its spread."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, 0.0, 1.0
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def result(outcomes: dict[str, list[dict]]) -> dict[str, dict]:
    """By world and method: final success over all seeds."""
    table = {}
    for name, runs in outcomes.items():
        for method in dict.fromkeys(run["method"] for run in runs):
            finals = [_rates(run)[-1] for run in runs if run["method"] == method]
            mean, low, high = (round(x, 3) for x in mean_interval(finals))
            table.setdefault(name, {})[method] = {"mean": mean, "low": low, "high": high, "finals": finals}
    return table


def markdown(outcomes: dict[str, list[dict]]) -> str:
    """A row a method, then a row a run."""
    rows = ["| world | method | final success, mean of seeds (95 %, t) | each seed |", "|---|---|---|---|"]
    for name, methods in result(outcomes).items():
        for method, r in methods.items():
            each = ", ".join(f"{x:.2f}" for x in r["finals"])
            rows.append(f"| {name} | {method} | {r['mean']:.2f} ({r['low']:.2f}-{r['high']:.2f}) | {each} |")
    rows += [
        "",
        "| world | method | seed | untrained | final (n, 95 %, Wilson) | sigma at the end | dial | s of processor |",
    ]
    rows.append("|" + "---|" * 8)
    for name, runs in outcomes.items():
        for r in runs:
            last, spread = r["curve"][-1], r["dial"]["coverage"]
            w = wilson(last["successes"], last["episodes"])
            sigma = f"{last['sigma']:.2f}" if r["method"] == "tmrl" else ""
            dial = f"{spread[0]:.2f} to {spread[-1]:.2f}" if r["method"] == "tmrl" else ""
            final = f"{w['value']:.2f} ({w['n']}, {w['low']:.2f}-{w['high']:.2f})"
            cells = [name, r["method"], r["seed"], f"{_rates(r)[0]:.2f}", final, sigma, dial, f"{r['cpu_s']:.0f}"]
            rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def plot(outcomes: dict[str, list[dict]], file: Path) -> None:
    """Greedy success over decisions: a thin line a seed, a thick one for their mean, its 95 % interval by t."""
    from tmrl_ros.session.plots import SERIES, plt

    figure, axes = plt.subplots(1, len(outcomes), figsize=(5.2 * len(outcomes), 3.6), sharey=True, squeeze=False)
    for ax, (name, runs) in zip(axes[0], outcomes.items(), strict=True):
        for method, colour in zip(SHOWN, SERIES, strict=False):
            chosen = [run for run in runs if run["method"] == method]
            if not chosen:
                continue
            x, rates = [p["decisions"] for p in chosen[0]["curve"]], np.array([_rates(run) for run in chosen])
            ax.plot(x, rates.T, color=colour, linewidth=0.7, alpha=0.5)
            mean, low, high = np.array([mean_interval(list(column)) for column in rates.T]).T
            ax.plot(x, mean, color=colour, linewidth=2.4, label=method)
            if len(chosen) > 1:
                ax.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        ax.set(title=f"{name} ({WORLDS[name].env})", xlabel="decisions", ylim=(-0.03, 1.03))
    axes[0, 0].set_ylabel("greedy success")
    axes[0, 0].legend(loc="upper left")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="everything once, within a minute; says nothing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--env", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--methods", nargs="+", choices=SHOWN, default=list(SHOWN))
    parser.add_argument("--jobs", type=int, default=1, help="side by side, a core each; changes no outcome")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    worlds = {name: quick(WORLDS[name]) if options.quick else WORLDS[name] for name in options.env}
    runs = RUNS / "quick" if options.quick else RUNS
    records = runs / "records" if options.quick else RECORDS
    if options.quick:
        shutil.rmtree(runs, ignore_errors=True)  # it is there to see everything go through
    jobs = [
        (runs / f"{name}_{seed}", records, world, method, seed, QUICK if options.quick else BUDGETS[name])
        for name, world in worlds.items()
        for seed in seeds
        for method in options.methods
    ]
    began = time.monotonic()
    outcomes = {name: [] for name in worlds}
    for (folder, *_), outcome in zip(jobs, _map(jobs, options.jobs), strict=True):
        outcomes[folder.name.rsplit("_", 1)[0]].append(outcome)
    print(markdown(outcomes))
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU, shared"
        (RESULTS / "ogbench.md").write_text(f"{markdown(outcomes)}\n\nMachine: {machine}\n")
        plot(outcomes, RESULTS / "ogbench.png")
    print(json.dumps(result(outcomes) | {"wall_s": round(time.monotonic() - began, 1)}))


def _map(jobs: list[tuple], processes: int) -> list[dict]:
    if processes == 1:
        return [run(*job) for job in jobs]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return list(pool.map(run, *zip(*jobs, strict=True)))


if __name__ == "__main__":
    main()
