"""Every method on the simulated Franka: robot-minutes to 80 % and 95 %, final success, and does learning sigma pay?

    python benchmarks/franka.py [--quick] [--seeds 100 101 102 103 104] [--scenes knock_5] [--only tmrl dsrl] [--jobs 2]

A scene is a task and what is wrong at deployment. Every variant of one seed shares its demonstrations, its base policy
(CSP or plain), its start states and the harness (session/inprocess.py): methods differ in nothing but what is named in
VARIANTS. The seeds were never used to choose a setting. Writes benchmarks/results/franka.{json,md,png}; a run that is
done in runs/franka is not done again.
"""

import argparse
import json
import os
import platform
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
from tmrl_ros.config import METHODS, LearnerConfig, validate
from tmrl_ros.data import store
from tmrl_ros.learner import offline as learning
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import compare, graph, phases, pretrain, runlog, summary
from tmrl_ros.session.phases import Job
from tmrl_ros.session.plots import plot_success

RUNS, RESULTS = Path("runs/franka"), Path(__file__).parent / "results"


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


VARIANTS = {
    "tmrl": Variant(),
    "tmrl, coherent": Variant(modulation={"coherence": 0.5}),  # exploration that keeps to one answer within an episode
    "dsrl": Variant("dsrl"),
    "rlpd": Variant("rlpd"),
    "residual": Variant("residual"),
    "rfs": Variant("rfs"),
    "rfs, 50 corrections": Variant("rfs", {"residual_max": 1.0, "residual_chunk": True}, corrections=50),
    **{
        f"csp, sigma {sigma:g}": Variant(modulation={"heads": "z", "sigma_start": sigma})
        for sigma in (0, 0.1, 0.2, 0.3)
    },
}
SEEDS = [100, 101, 102, 103, 104]
EPISODES, DEMOS = 50, 80  # of each evaluation; of each seed
QUICK = Scene("pick_cube", knock(-0.0354, 0.0354), 0.5, "a glimpse")


def folder_of(scene: str, variant: str, seed: int) -> Path:
    return RUNS / scene / variant.replace(", ", "_").replace(" ", "_") / str(seed)


def prepare(task: str, kind: str, seed: int, demos: int) -> None:
    """Demonstrations and one base policy of a seed, unless they are there."""
    folder = base_folder(task, seed)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "demos.zarr").exists():
        phases.collect(Job(task=task, seed=seed, demos=demos, in_process=True), folder)
    if not (folder / kind).exists():
        pretrain.run(
            folder / "demos.zarr", folder / kind, graph.section("pretrain", "", seed=seed, policy={"kind": kind})
        )


def base_folder(task: str, seed: int) -> Path:
    return (RUNS / "bases" / task / str(seed)).resolve()


def run(scene_name: str, scene: Scene, variant_name: str, seed: int, episodes: int) -> dict:
    """One run; returns its summary."""
    folder, variant = folder_of(scene_name, variant_name, seed), VARIANTS[variant_name]
    if (folder / "summary.json").exists():
        return summary.read(folder)
    steering = {"modulation": variant.modulation}
    job = Job(
        task=scene.task, method=variant.method, seed=seed, minutes=scene.minutes, bias_cm=0.0, episodes=episodes,
        in_process=True, overrides={"sim": scene.sim, "policy": steering, "learner": steering | {"sac": variant.sac}},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in (("demos.zarr", "demos.zarr"), ("base_policy", METHODS[variant.method].base_kind)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(base_folder(scene.task, seed) / source)
    start_s = time.monotonic()
    if variant.corrections:
        learn_from_corrections(replace(job, demos=variant.corrections), folder, steering)
    else:
        phases.finetune(job, folder)
    wall_s = {"finetune": time.monotonic() - start_s}
    phases.evaluate_final(job, folder)
    phase = "correct" if variant.corrections else "finetune"  # the robot's time
    training, final = runlog.episode_events(folder, phase), runlog.episode_events(folder, "final")
    about = {"task": scene.task, "method": variant.method, "seed": seed, "demos": DEMOS, "updates": 0}
    result = summary.summarise(
        **about,
        base=[],
        training=training,
        final=final,
        wall_s=wall_s,
        revision=summary.git_revision(Path(__file__).parent),
    )
    result |= {"label": variant_name, "scene": scene_name}
    if variant.corrections:  # the person succeeds from the start; the policy is there when it has learned from them
        reached = {
            s: result["robot_minutes"] if result["final_success"]["value"] >= s / 100 else None for s in (80, 95)
        }
        result |= {f"robot_minutes_to_{s}": minutes for s, minutes in reached.items()}
    summary.write(folder, result)
    return result


def learn_from_corrections(job: Job, folder: Path, steering: dict[str, Any]) -> None:
    """RFS as it is used on robots: a person's episodes at deployment, then TD3+BC."""
    phases.correct(job, folder)
    config = validate(LearnerConfig, {"method": job.method, "seed": job.seed, **steering})
    base, demos = BasePolicy.load(folder / "base_policy"), store.read_arrays(str(folder / "corrections.zarr"))
    actor = folder / "finetune/checkpoints/actor"
    shutil.rmtree(actor, ignore_errors=True)
    learning.from_actions(config, base, demos, actor, lambda *_: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one scene, two variants, one seed, half a minute")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    scenes, variants, seeds, episodes, demos = (
        {s: SCENES[s] for s in options.scenes},
        options.only,
        options.seeds,
        EPISODES,
        DEMOS,
    )
    if options.quick:
        scenes, variants, seeds, episodes, demos = {"quick": QUICK}, ["tmrl", "dsrl"], [0], 2, 5
    kinds = {METHODS[VARIANTS[variant].method].base_kind for variant in variants}
    work = [(name, variant, seed) for name in scenes for variant in variants for seed in seeds]
    results: dict[tuple[str, str, int], dict] = {}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for kind in kinds:  # one after the other: they share demonstrations
            tasks = {scene.task for scene in scenes.values()}
            list(pool.map(prepare, *zip(*[(task, kind, seed, demos) for task in tasks for seed in seeds], strict=True)))
        jobs = {pool.submit(run, s, scenes[s], v, seed, episodes): (s, v, seed) for s, v, seed in work}
        for job in as_completed(jobs):
            results[jobs[job]] = done = job.result()
            to = [compare.minutes(done[f"robot_minutes_to_{share}"]) for share in (80, 95)]
            name = ", ".join(map(str, jobs[job]))
            print(f"{name}: final {done['final_success']['value']:.2f}, 80 % at {to[0]}, 95 % at {to[1]}", flush=True)
    outcome = report(scenes, variants, seeds, results, None if options.quick else RESULTS)
    print(json.dumps(outcome))


def report(scenes, variants, seeds, results, out: Path | None) -> dict:
    """Print a table a scene; write it, the curves and the numbers to `out`."""
    text, outcome = [], {}
    for name, scene in scenes.items():
        groups = {v: [results[name, v, seed] for seed in seeds] for v in variants}
        text.append(f"### {name}: {scene.says}, {scene.minutes:g} robot-minutes\n\n{compare.table(groups)}\n")
        outcome[name] = {v: _figures(runs) for v, runs in groups.items()}
        if out:
            plot_success(
                {v: [folder_of(name, v, seed) for seed in seeds] for v in variants}, out / f"franka_{name}.png"
            )
    print("\n".join(text))
    if out:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU, shared"
        (out / "franka.md").write_text("\n".join([*text, f"Seeds {seeds}. Machine: {machine}."]) + "\n")
        runs = {f"{s}, {v}": [results[s, v, seed] for seed in seeds] for s in scenes for v in variants}
        (out / "franka.json").write_text(json.dumps({"machine": machine, "result": outcome, "runs": runs}, indent=1))
    return outcome


def _figures(runs: list[dict]) -> dict:
    finals = [run["final_success"]["value"] for run in runs]
    return {
        "final_mean": round(sum(finals) / len(finals), 3),
        **{f"to_{s}_median": compare.median(run[f"robot_minutes_to_{s}"] for run in runs) for s in (80, 95)},
        "never_rewarded": sum(run["robot_minutes_to_first_success"] is None for run in runs),
    }


if __name__ == "__main__":
    main()
