"""Every method on the simulated Franka: robot-minutes to 80 % and 95 %, final success, and does learning sigma pay?

    python benchmarks/franka.py [--quick] [--seeds 100 101 102 103 104] [--scenes knock_5] [--only tmrl dsrl] [--jobs 2]

A scene is a task and what is wrong at deployment. Every variant of one seed shares its demonstrations, its base policy
(CSP or plain), its start states and the harness (session/inprocess.py): methods differ in nothing but what VARIANTS
names. The seeds were never used to choose a setting. Each run goes into benchmarks/results/franka.json as it ends, with
its settings and the revision of the code; one that is there with the same settings is not done again. The table and the
picture show everything that is there. Minutes are those at which 20 training episodes in a
row, exploring ones included, first succeed to that share.
"""

import argparse
import json
import os
import platform
import re
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"
from tmrl_ros.config import METHODS, BaseConfig, LearnerConfig, validate
from tmrl_ros.data import store
from tmrl_ros.learner import offline as learning
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import compare, graph, phases, pretrain, runlog, summary
from tmrl_ros.session.phases import Job
from tmrl_ros.session.plots import plot_success_grid

RESULTS = Path(__file__).parent / "results/franka.json"


@dataclass(frozen=True)
class Scene:
    """A task, what is wrong when the policy meets it, and for how many robot-minutes it is fine-tuned."""

    task: str
    sim: dict[str, Any]
    minutes: float
    says: str


def knock(x_m: float, y_m: float) -> dict[str, Any]:
    return {"shift": {"camera_bias_m": [x_m, y_m, 0.0]}}


SCENES = {
    "knock_5": Scene("pick_cube", knock(-0.0354, 0.0354), 30, "camera 5 cm off along (-1, 1)"),
    "knock_y": Scene("pick_cube", knock(0.0, -0.05), 30, "camera 5 cm off along (0, -1)"),
    "knock_3": Scene("pick_cube", knock(-0.0212, 0.0212), 20, "camera 3 cm off along (-1, 1)"),
    "push": Scene("push_cube", knock(-0.0354, 0.0354), 20, "push_cube, camera 5 cm off along (-1, 1)"),
}


@dataclass(frozen=True)
class Variant:
    """A method and the settings in which it differs from its default."""

    method: str = "tmrl"
    modulation: dict[str, Any] = field(default_factory=dict)
    sac: dict[str, Any] = field(default_factory=dict)
    corrections: int = 0  # learn offline from so many episodes of a person's at deployment, instead of online
    base: str = ""  # of BASES; empty: as the method says
    shown: int = 0  # begin with so many episodes of a person's at deployment, whose minutes count

    @property
    def base_kind(self) -> str:
        return self.base or METHODS[self.method].base_kind


BASES = {  # pre-training of a base policy
    "csp": {"kind": "csp"},
    "plain": {"kind": "plain"},
    "csp_clean75": {"kind": "csp", "clean_share": 0.75},
}
VARIANTS = {
    "plain base": Variant("base"),
    "csp base": Variant("base", base="csp"),
    "tmrl": Variant(),
    "tmrl, again": Variant(),  # with the command motion since 586ed27, as the shown ones have it
    "tmrl, coherent": Variant(modulation={"coherence": 0.5}),  # exploration that keeps to one answer within an episode
    "tmrl, no candidates": Variant(modulation={"candidates": 1}),  # the mean acts greedily, unranked
    "tmrl, batches alike": Variant(sac={"success_share": 0.0}),  # batches are drawn without regard to success
    "dsrl": Variant("dsrl"),
    "rlpd": Variant("rlpd"),
    "residual": Variant("residual"),
    "rfs": Variant("rfs"),
    **{f"{method}, 10 shown": Variant(method, shown=10) for method in ("tmrl", "dsrl", "rlpd")},
    "csp, sigma 0.3, 10 shown": Variant(modulation={"heads": "z", "sigma_start": 0.3}, shown=10),
    "tmrl, 10 shown, 3/4 clean": Variant(base="csp_clean75", shown=10),  # clean_share of pre-training .75 for .5
    "rfs, 50 corrections": Variant("rfs", {"residual_max": 1.0, "residual_chunk": True}, corrections=50),
    **{
        f"csp, sigma {sigma:g}": Variant(modulation={"heads": "z", "sigma_start": sigma})
        for sigma in (0, 0.1, 0.2, 0.3)
    },
}
SEEDS = [100, 101, 102, 103, 104]
NOTE = (
    "Revisions from 586ed27 on command a smoother curve than 46a0741, ba53dfd, 45b6513 and a098c8f do: compare with "
    "care across that."
)


class Size(NamedTuple):
    """How much a run is given beside its robot time."""

    runs: Path
    episodes: int  # of each evaluation
    demos: int  # of each seed
    steps: int  # of pre-training


FULL = Size(Path("runs/franka"), 50, 80, BaseConfig().steps)
GLIMPSE = Size(Path("runs/franka_quick"), 2, 5, 200)
QUICK = Scene("pick_cube", knock(-0.0354, 0.0354), 0.5, "a glimpse")
PICTURES = {
    "methods": ["tmrl, 10 shown", "tmrl", "dsrl", "rlpd", "residual", "rfs"],
    "is sigma worth learning?": ["tmrl", *(f"csp, sigma {s:g}" for s in (0, 0.1, 0.2, 0.3))],
}


# ---- one run --------------------------------------------------------------------------------------------------------


def prepare(task: str, kind: str, seed: int, size: Size) -> None:
    """Demonstrations and one base policy of a seed, unless they are there."""
    folder = base_folder(task, seed, size)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "demos.zarr").exists():
        phases.collect(Job(task=task, seed=seed, demos=size.demos, in_process=True), folder)
    if not (folder / kind).exists():
        config = graph.section("pretrain", "", seed=seed, policy=BASES[kind] | {"steps": size.steps})
        pretrain.run(folder / "demos.zarr", folder / kind, config)


def base_folder(task: str, seed: int, size: Size) -> Path:
    return (size.runs / "bases" / task / str(seed)).resolve()


def run(scene: Scene, variant_name: str, seed: int, folder: Path, size: Size) -> dict:
    """One run in `folder`; returns its record."""
    variant = VARIANTS[variant_name]
    steering = {"modulation": variant.modulation}
    job = Job(
        task=scene.task, method=variant.method, seed=seed, minutes=scene.minutes, bias_cm=0.0, episodes=size.episodes,
        corrections=variant.shown, in_process=True,
        overrides={"sim": scene.sim, "policy": steering, "learner": steering | {"sac": variant.sac}},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in (("demos.zarr", "demos.zarr"), ("base_policy", variant.base_kind)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(base_folder(scene.task, seed, size) / source)
    if variant.method == "base":
        phases.evaluate_base(job, folder)
        return record(scene, variant, seed, [], runlog.episode_events(folder, "base"))
    if variant.corrections:
        learn_from_corrections(replace(job, demos=variant.corrections), folder, steering)
    else:
        phases.finetune(job, folder)
    phases.evaluate_final(job, folder)
    training = runlog.episode_events(folder, "correct" if variant.corrections else "finetune")
    return record(scene, variant, seed, training, runlog.episode_events(folder, "final"))


def learn_from_corrections(job: Job, folder: Path, steering: dict[str, Any]) -> None:
    """RFS as it is used on robots: a person's episodes at deployment, then TD3+BC."""
    phases.correct(job, folder)
    config = validate(LearnerConfig, {"method": job.method, "seed": job.seed, **steering})
    base, demos = BasePolicy.load(folder / "base_policy"), store.read(folder / "corrections.zarr")
    actor = folder / "finetune/checkpoints/actor"
    shutil.rmtree(actor, ignore_errors=True)
    learning.from_actions(config, base, demos, actor, lambda *_: None)


def record(scene: Scene, variant: Variant, seed: int, training: list, final: list) -> dict:
    """What is kept of a run: the fields of a summary that comparisons look at, and every training episode."""
    about = {
        "task": scene.task,
        "method": variant.method,
        "seed": seed,
        "demos": FULL.demos,
        "updates": 0,
        "wall_s": {},
    }
    about["revision"] = summary.git_revision(Path(__file__).parent)
    whole = summary.summarise(**about, base=[], training=training, final=final)
    kept = ("base_success", "final_success", "robot_minutes", "robot_minutes_to_first_success", "revision")
    out = {name: whole[name] for name in kept} | {
        "settings": settings(scene, variant),
        "curve": summary.curve(training),
    }
    for share in (80, 95):
        out[f"robot_minutes_to_{share}"] = whole[f"robot_minutes_to_{share}"]
        if variant.corrections:  # a person succeeds from the start; the policy is there once it has learned from that
            there = whole["final_success"]["value"] >= share / 100
            out[f"robot_minutes_to_{share}"] = whole["robot_minutes"] if there else None
    return out


def settings(scene: Scene, variant: Variant) -> dict[str, Any]:
    """What a run depends on beside its seed and the code."""
    shown = {"shown": variant.shown} if variant.shown else {}  # runs from before there was such a thing stay valid
    chosen = {name: value for name, value in asdict(variant).items() if name != "shown"} | shown
    return {"scene": asdict(scene), "variant": chosen, "episodes": FULL.episodes, "demos": FULL.demos}


# ---- many runs ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one scene, two variants, one seed, half a robot-minute")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="run nothing: the table and the picture of what is there")
    options = parser.parse_args()
    if options.quick:
        scenes, variants, seeds, size = {"quick": QUICK}, ["tmrl", "dsrl"], [0], GLIMPSE
        done: dict = {}
    else:
        scenes, variants, seeds, size = {s: SCENES[s] for s in options.scenes}, options.only, options.seeds, FULL
        done = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
    missing = [
        (s, v, seed)
        for s in scenes
        for v in variants
        for seed in seeds
        if done.get(s, {}).get(v, {}).get(str(seed), {}).get("settings") != settings(scenes[s], VARIANTS[v])
    ]
    for (s, v, seed), outcome in [] if options.report else campaign(missing, scenes, options.jobs, size):
        done.setdefault(s, {}).setdefault(v, {})[str(seed)] = json.loads(json.dumps(outcome))
        print(f"{s}, {v}, {seed}: {sentence(outcome)}", flush=True)
        if not options.quick:
            save(done)
    print(json.dumps(report(done, {**SCENES, **scenes}, None if options.quick else RESULTS)))


def campaign(missing, scenes: dict[str, Scene], jobs: int, size: Size):
    """Yields each run and its record as it ends."""
    bases = sorted({(scenes[s].task, seed, VARIANTS[v].base_kind) for s, v, seed in missing})
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for kind in BASES:  # one after the other: they share demonstrations
            some = [(task, kind, seed, size) for task, seed, needed in bases if needed == kind]
            list(pool.map(prepare, *zip(*some, strict=True))) if some else None
        running = {}
        for s, v, seed in missing:
            folder = size.runs / s / re.sub("[^a-z0-9.]+", "_", v) / str(seed)
            running[pool.submit(run, scenes[s], v, seed, folder, size)] = s, v, seed
        for job in as_completed(running):
            yield running[job], job.result()


def sentence(outcome: dict) -> str:
    to = [compare.minutes(outcome[f"robot_minutes_to_{share}"]) for share in (80, 95)]
    return f"final {outcome['final_success']['value']:.2f}, 80 % at {to[0]}, 95 % at {to[1]}"


def save(done: dict) -> None:
    """Replace the results file, whole or not at all."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU, shared"
    fresh = RESULTS.with_suffix(".tmp")
    fresh.write_text(json.dumps({"machine": machine, "runs": done}))
    fresh.replace(RESULTS)


# ---- what came of them ----------------------------------------------------------------------------------------------


def report(done: dict, scenes: dict[str, Scene], results: Path | None) -> dict:
    """Print a table a scene, and write it with the picture beside `results`; returns the medians and means."""
    text, outcome = [], {}
    for name, groups in done.items():
        runs = {variant: list(groups[variant].values()) for variant in VARIANTS if variant in groups}
        scene = scenes[name]
        text += [f"### {name}: {scene.says}, {scene.minutes:g} robot-minutes\n", compare.table(runs), ""]
        text += [against_tmrl(groups, scene.minutes), ""]
        outcome[name] = {variant: figures(each) for variant, each in runs.items()}
    print("\n".join(text))
    if results:
        curves = {
            f"{name}: {title}": {v: [run["curve"] for run in groups[v].values()] for v in names if v in groups}
            for name, groups in done.items()
            for title, names in PICTURES.items()
        }
        plot_success_grid(curves, results.with_suffix(".png"), len(PICTURES))
        machine = json.loads(results.read_text())["machine"]
        text += [f"Machine: {machine}. {NOTE} Code at:\n", *revisions(done)]
        results.with_suffix(".md").write_text("\n".join(text) + "\n")
    return outcome


def revisions(done: dict) -> list[str]:
    """Which variants of a scene ran at which revision of the code."""
    at: dict[tuple[str, str], dict[str, None]] = {}
    for name, groups in done.items():
        for variant, runs in groups.items():
            for run in runs.values():
                at.setdefault((name, run["revision"].removesuffix("-dirty")[:7]), {})[variant] = None
    return [f"- {name}, {revision}: {'; '.join(variants)}" for (name, revision), variants in at.items()]


def against_tmrl(groups: dict[str, dict[str, dict]], minutes: float) -> str:
    """Each variant less TMRL, seed by seed: mean difference with a bootstrapped 95 % interval over seeds."""
    lines = [
        "| less tmrl, on the same seeds | final success | robot-min to 80 %, at most the session |",
        "|---|---|---|",
    ]
    for name in VARIANTS:
        seeds = sorted(set(groups.get(name, {})) & set(groups.get("tmrl", {})))
        if name == "tmrl" or len(seeds) < 2 or VARIANTS[name].method == "base":
            continue
        pairs = [(groups[name][seed], groups["tmrl"][seed]) for seed in seeds]
        success = [a["final_success"]["value"] - b["final_success"]["value"] for a, b in pairs]
        time = [_capped(a, minutes) - _capped(b, minutes) for a, b in pairs]
        lines.append(f"| {name} ({len(seeds)}) | {_interval(success, 2)} | {_interval(time, 1)} |")
    return "\n".join(lines)


def _capped(run: dict, minutes: float) -> float:
    return minutes if run["robot_minutes_to_80"] is None else run["robot_minutes_to_80"]


def _interval(differences: list[float], digits: int) -> str:
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (10_000, len(differences))).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{np.mean(differences):+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def figures(runs: list[dict]) -> dict:
    finals = [run["final_success"]["value"] for run in runs]
    return {
        "final_mean": round(sum(finals) / len(finals), 3),
        **{f"to_{s}_median": compare.median(run[f"robot_minutes_to_{s}"] for run in runs) for s in (80, 95)},
        "never_rewarded": sum(run["robot_minutes_to_first_success"] is None for run in runs),
        "seeds": len(runs),
    }


if __name__ == "__main__":
    main()
