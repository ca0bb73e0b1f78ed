"""pick_cube from what a camera shows: CSP and TMRL through the perception of a robot, after the camera was knocked.

    python benchmarks/from_pixels.py [--quick] [--input cloud image] [--shown 10] [--seeds 0 1 2]

Demonstrations, pre-training, evaluation of the base, fine-tuning, evaluation on the same fresh start states, simulated
in one process (`tmrl demo --observe cloud --in-process`). Every observation is made of the rendered frames of one
camera by perception/observer.py, as the node does it. After the demonstrations the camera is moved away from the robot,
by 5 cm for clouds and 15 cm for images (or `--cm`), and its calibration file stays: each point of a cloud is off by
that. With `--shown N` fine-tuning begins with N episodes of a (scripted) person after the move, whose minutes count.

A run that is done in runs/ is not done again; results accumulate in benchmarks/results/from_pixels.{md,json,png}, and
from_pixels_cloud.png shows crop and cloud on the image, as perception places them after the move.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.pyplot as plt
import numpy as np
import yaml

from tmrl_ros.session import graph, runlog, summary
from tmrl_ros.session.plots import BLUE, GREEN, ORANGE  # importing it sets the style

RUNS, RESULTS = Path("runs"), Path(__file__).parent / "results"
INPUTS = {"cloud": 5.0, "image": 15.0}  # how far the camera moves, cm: so far that the base mostly fails
MINUTES, DEMOS, EPISODES = 60, 80, 50


DEMO = "import json, sys; from tmrl_ros.session import demo; demo.run(**json.loads(sys.argv[1]))"


class Case(NamedTuple):
    """What is run, but for the seed; `cm` is how far the camera moves, `shown` how many episodes a person gives."""

    observe: str
    cm: float
    shown: int

    @property
    def name(self) -> str:
        return f"{self.observe}, {self.cm:g} cm" + (f", {self.shown} shown" if self.shown else "")

    def folder(self, seed: int, quick: bool = False) -> Path:
        return RUNS / f"pixels_{self.name.replace(', ', '_').replace(' ', '')}_{seed}{'_quick' * quick}"


def run(case: Case, seed: int, quick: bool) -> None:
    """One job, unless it is done; what it cost stays beside it."""
    at = case.folder(seed, quick)
    at.mkdir(parents=True, exist_ok=True)
    if not (at / "summary.json").exists():
        minutes, demos, episodes = (0.5, 2, 1) if quick else (MINUTES, DEMOS, EPISODES)
        job = {"observe": case.observe, "bias_cm": case.cm, "corrections": case.shown, "seed": seed}
        job |= {"minutes": minutes, "demos": demos}
        job |= {"episodes": episodes, "name": at.name, "in_process": True}
        job |= {"params_file": few_steps(case.observe) if quick else ""}
        used = at / "cpu_s.json"
        before_s = cpu_s() - (json.loads(used.read_text()) if used.exists() else 0.0)
        with (at / "demo.log").open("a") as log:
            done = subprocess.run([sys.executable, "-c", DEMO, json.dumps(job)], stdout=log, stderr=log)
        used.write_text(json.dumps(round(cpu_s() - before_s, 1)))
        done.check_returncode()


def few_steps(observe: str) -> str:
    """A parameter file with hardly any pre-training."""
    document = yaml.safe_load(graph.parameters_file("").with_name(f"sim_{observe}.yaml").read_text())
    document["/**/pretrain"]["ros__parameters"]["policy"]["steps"] = 40
    path = RUNS / f"pixels_{observe}_quick.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path.resolve())


def cpu_s() -> float:
    """Processor time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def outcome(case: Case, seed: int, quick: bool = False) -> dict:
    """What the table and the picture need of one run."""
    at = case.folder(seed, quick)
    found, used = summary.read(at), at / "cpu_s.json"
    names = ("robot_minutes", "robot_minutes_to_80", "robot_minutes_to_95", "real_time_factor", "revision")
    return {
        "base": found["base_success"],
        "final": found["final_success"],
        **{name: found[name] for name in names},
        "wall_s": round(sum(found["wall_s"].values()), 1),
        "cpu_s": json.loads(used.read_text()) if used.exists() else None,
        "curve": summary.curve(runlog.episode_events(at, "finetune")),
    }


def table(found: dict) -> str:
    """Markdown, a row a run."""
    head = "input | seed | base (n) | final (n, 95 %) | robot-minutes | to 80 % | to 95 % | wall min | processor min"
    rows = [f"| {head} |", "|" + "---|" * 9]
    for observe, seeds in found.items():
        for seed, r in seeds.items():
            base, final = r["base"], r["final"]
            to = [
                "never" if r[f"robot_minutes_to_{s}"] is None else f"{r[f'robot_minutes_to_{s}']:.1f}" for s in (80, 95)
            ]
            cells = [observe, seed, f"{base['value']:.2f} ({base['n']})"]
            cells += [f"{final['value']:.2f} ({final['n']}, {final['low']:.2f}-{final['high']:.2f})"]
            cells += [f"{r['robot_minutes']:.1f}", *to, f"{r['wall_s'] / 60:.1f}"]
            cells += [f"{r['cpu_s'] / 60:.1f}" if r["cpu_s"] else "not measured"]
            rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def result(found: dict) -> dict:
    """The figures of the issue: the worst base and the worst final over the seeds, by input."""
    return {
        observe: {
            "base_max": max(r["base"]["value"] for r in seeds.values()),
            "final_min": min(r["final"]["value"] for r in seeds.values()),
            "seeds": len(seeds),
            "wall_min": [round(r["wall_s"] / 60, 1) for r in seeds.values()],
        }
        for observe, seeds in found.items()
    }


def write(found: dict) -> dict:
    """benchmarks/results/from_pixels.{md,json,png}: these runs beside those of earlier calls; returns all of them."""
    path = RESULTS / "from_pixels.json"
    before = json.loads(path.read_text())["runs"] if path.exists() else {}
    merged = {
        name: dict(sorted((before.get(name, {}) | found.get(name, {})).items(), key=lambda row: int(row[0])))
        for name in sorted({*before, *found})
    }
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU, shared"
    path.write_text(json.dumps({"machine": machine, "result": result(merged), "runs": merged}, indent=1))
    (RESULTS / "from_pixels.md").write_text(f"{table(merged)}\n\n{SAID}\n\nMachine: {machine}\n")
    plot(merged, RESULTS / "from_pixels.png")
    return merged


def show_crop(case: Case, seed: int, quick: bool) -> None:
    """Keep the picture of crop and cloud on the image, where the run made one."""
    seen = case.folder(seed, quick) / "frames/seen/moved.png"
    if seen.exists() and not quick:
        shutil.copyfile(seen, RESULTS / f"from_pixels_{case.observe}.png")


def plot(found: dict, path: Path) -> None:
    """Every seed: success of the last 20 training episodes, and of base and final policy on fresh start states."""
    rows = -(-len(found) // 2)
    figure, grid = plt.subplots(rows, 2, figsize=(12.4, 3.6 * rows), squeeze=False, layout="constrained")
    for axes in grid.flat[len(found) :]:
        axes.remove()
    for axes, (observe, seeds) in zip(grid.flat, found.items(), strict=False):
        best_first = sorted(seeds.items(), key=lambda row: -row[1]["final"]["value"])
        for place, (seed, r) in enumerate(best_first):
            minutes, success = np.array(r["curve"], float).T
            total, last = np.concatenate([[0], np.cumsum(success)]), np.maximum(np.arange(len(success)) - 19, 0)
            axes.plot(minutes, (total[1:] - total[last]) / (np.arange(len(success)) + 1 - last), color=BLUE, alpha=0.6)
            axes.plot(0, r["base"]["value"], "o", color=ORANGE, clip_on=False)
            axes.plot(r["robot_minutes"], r["final"]["value"], "s", color=GREEN, clip_on=False)
            at = (r["robot_minutes"], r["final"]["value"])
            axes.annotate(f"seed {seed}", at, (4, 6 - 9 * place), textcoords="offset points", fontsize="small")
        axes.set(title=f"from {observe}", xlabel="robot minutes, resets included", ylim=(-0.03, 1.03), xlim=(0, None))
    grid[0][0].set_ylabel("success: last 20 episodes (line),\nbase (circle), final (square)")
    figure.savefig(path, dpi=130, facecolor="white", bbox_inches="tight")
    plt.close(figure)


SAID = (
    "`python benchmarks/from_pixels.py`; what it does stands at its top. Base and final: fresh start states, the same "
    "for both. Wall time is of all phases on a machine that others used too; processor time is what one core took. "
    "Images at 7 cm were run before actors saw what the encoder pools and pre-training moved the images."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short runs that show that all of it works")
    parser.add_argument("--input", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--cm", type=float, help="how far the camera moves")
    parser.add_argument("--shown", type=int, default=0, metavar="N", help="episodes of a person's to begin with")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    seeds = [10] if options.quick else options.seeds
    found: dict = {}
    for observe in options.input:
        for seed in seeds:
            case = Case(observe, options.cm or INPUTS[observe], options.shown)
            run(case, seed, options.quick)
            found.setdefault(case.name, {})[str(seed)] = outcome(case, seed, options.quick)
            show_crop(case, seed, options.quick)
            if not options.quick:
                write(found)
    whole = found if options.quick else write(found)
    print(table(whole))
    print(json.dumps(result(whole)))


if __name__ == "__main__":
    main()
