"""The story of `tmrl demo`, on every seed: a knocked camera, an hour of fine-tuning, fresh start states, over ROS.

    python benchmarks/hour.py [--quick] [--seeds 0 1 2 3 4] [--in-process] [--jobs 2]

Runs `tmrl demo` for each seed with TMRL and DSRL at 5 cm (60 robot-minutes), TMRL at 3 cm (20 robot-minutes) and TMRL
at 5 cm that begins with ten episodes of a (scripted) person at deployment (60 robot-minutes, theirs included), leaves
out none, and writes benchmarks/results/hour.{json,md} and hour.png. Runs of one seed and base share their
demonstrations and pre-training, which would come out the same. A run that is done in runs/ is not done again.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tmrl_ros.session import runlog, summary
from tmrl_ros.session.plots import plot_success

RUNS, RESULTS = Path("runs"), Path(__file__).parent / "results"
SHARED = {"collect": ("collect", "demos.zarr"), "pretrain": ("base_policy", "dial.json")}  # phase -> what it leaves


@dataclass(frozen=True)
class Case:
    """One job of `tmrl demo` but for the seed."""

    method: str
    bias_cm: float
    minutes: float
    demos: int = 80
    episodes: int = 100
    shown: int = 0

    @property
    def says(self) -> str:
        return f"{self.method}, {self.shown} shown" if self.shown else self.method

    @property
    def label(self) -> str:
        return f"{self.says} {self.bias_cm:g} cm"

    def folder(self, seed: int) -> Path:
        name = self.says.replace(", ", "_").replace(" ", "_")
        return RUNS / f"hour_{name}_{self.bias_cm:g}cm_{self.minutes:g}min_{seed}"

    def curve(self, seed: int) -> summary.Curve:
        return summary.curve(runlog.episode_events(self.folder(seed), "finetune"))

    def command(self, seed: int, in_process: bool) -> list[str]:
        words = {
            "method": self.method,
            "bias-cm": self.bias_cm,
            "minutes": self.minutes,
            "demos": self.demos,
            "episodes": self.episodes,
            "corrections": self.shown,
            "seed": seed,
            "name": self.folder(seed).name,
        }
        options = [f"--{name}={value}" for name, value in words.items()] + ["--in-process"] * in_process
        return [sys.executable, "-m", "tmrl_ros.session.cli", "demo", *options]


CASES = [Case("tmrl", 5, 60, shown=10), Case("tmrl", 5, 60), Case("tmrl", 3, 20), Case("dsrl", 5, 60)]
QUICK = [Case("tmrl", 5, 1, demos=3, episodes=2)]


def run(case: Case, seed: int, cases: list[Case], in_process: bool) -> None:
    """One job, unless it is done, with what it may share of those that are done."""
    folder = case.folder(seed)
    if not folder.exists():
        done = [other for other in cases if (other.folder(seed) / "summary.json").exists()]
        same_base = [other for other in done if (other.method == "dsrl") == (case.method == "dsrl")]
        for source in (same_base or done)[:1]:
            _share(source.folder(seed), folder, ["collect", "pretrain"] if same_base else ["collect"])
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "summary.json").exists():
        with (folder / "demo.log").open("a") as log:
            subprocess.run(case.command(seed, in_process), check=True, stdout=log, stderr=log)
    print(f"{case.label} seed {seed}: {_line(_summary(case, seed))}", flush=True)


def _share(source: Path, folder: Path, phases: list[str]) -> None:
    """Copy the phases that would come out the same."""
    wall_s = json.loads((source / "phases.json").read_text())
    folder.mkdir(parents=True)
    for name in [part for phase in phases for part in SHARED[phase]]:
        origin = source / name
        (shutil.copytree if origin.is_dir() else shutil.copyfile)(origin, folder / name)
    (folder / "phases.json").write_text(json.dumps({phase: wall_s[phase] for phase in phases}))


def _summary(case: Case, seed: int) -> dict:
    return json.loads((case.folder(seed) / "summary.json").read_text())


def _line(s: dict) -> str:
    reached = [s[f"robot_minutes_to_{share}"] for share in (80, 95)]
    minutes = [f"{m:.1f}" if m is not None else "never" for m in reached]
    return (
        f"{s['base_success']['value']:.2f} -> {s['final_success']['value']:.2f} of {s['final_success']['n']}, "
        f"80 % at {minutes[0]}, 95 % at {minutes[1]} robot-minutes, {s['real_time_factor']:.1f}x real time"
    )


def table(cases: list[Case], seeds: list[int]) -> str:
    """Markdown, a row a run."""
    rows = [
        "| method | camera off | seed | base | final (n, 95 %) | min to 80 % | min to 95 % | ran | x real time |",
        "|" + "---|" * 9,
    ]
    for case in cases:
        for seed in seeds:
            s = _summary(case, seed)
            final, (m80, m95) = s["final_success"], (s["robot_minutes_to_80"], s["robot_minutes_to_95"])
            cells = [
                case.says,
                f"{case.bias_cm:g} cm",
                seed,
                f"{s['base_success']['value']:.2f}",
                f"{final['value']:.2f} ({final['n']}, {final['low']:.2f}-{final['high']:.2f})",
                "never" if m80 is None else f"{m80:.1f}",
                "never" if m95 is None else f"{m95:.1f}",
                s["ran"],
                f"{s['real_time_factor']:.1f}",
            ]
            rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def result(cases: list[Case], seeds: list[int]) -> dict:
    """Means over all seeds, and the worst one."""
    out = {}
    for case in cases:
        summaries = [_summary(case, seed) for seed in seeds]
        finals = [s["final_success"]["value"] for s in summaries]
        out[case.label] = {
            "base_mean": round(statistics.mean(s["base_success"]["value"] for s in summaries), 3),
            "final_mean": round(statistics.mean(finals), 3),
            "final_min": min(finals),
            "seeds": len(seeds),
            "to_80": [s["robot_minutes_to_80"] for s in summaries],
            "to_95": [s["robot_minutes_to_95"] for s in summaries],
            "real_time_factor_min": round(min(s["real_time_factor"] for s in summaries), 1),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short run, within a minute or two")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--in-process", action="store_true", help="the same job without ROS")
    parser.add_argument("--jobs", type=int, default=1, help="side by side; makes each slower, and changes no outcome")
    options = parser.parse_args()
    cases, seeds = (QUICK, [0]) if options.quick else (CASES, options.seeds)
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(run, case, seed, cases, options.in_process) for case in cases for seed in seeds]
    for job in jobs:
        job.result()
    print(table(cases, seeds))
    outcome = result(cases, seeds)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU, shared"
        detail = {
            "machine": machine,
            "result": outcome,
            "runs": {c.label: [_summary(c, s) for s in seeds] for c in cases},
        }
        (RESULTS / "hour.json").write_text(json.dumps(detail, indent=1))
        (RESULTS / "hour.md").write_text(f"{table(cases, seeds)}\n\nMachine: {machine}\n")
        plot_success({c.label: [c.curve(s) for s in seeds] for c in cases}, RESULTS / "hour.png")
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
