"""Every method on the simulated Franka: robot-minutes to 80 % and 95 %, final success, and does learning sigma pay?

    python benchmarks/franka.py [--quick] [--seeds 100 101 102 103 104] [--only tmrl dsrl] [--scenes knock_a] [--jobs 2]

A scene is a task and what is wrong at deployment. Every variant of one seed shares its demonstrations, its base policy
(CSP or plain), its start states and the harness (session/inprocess.py): methods differ in nothing but what is named in
VARIANTS. The seeds were never used to choose a setting. Writes benchmarks/results/franka.{json,md,png}; a run that is
done in runs/franka is not done again.
"""

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
from tmrl_ros.config import METHODS, BaseConfig
from tmrl_ros.session import phases, runlog, summary
from tmrl_ros.session.phases import Job

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
    "knock_5": Scene("pick_cube", knock(-0.0354, 0.0354), 40, "camera 5 cm off along (-1, 1)"),
    "knock_y": Scene("pick_cube", knock(0.0, -0.05), 40, "camera 5 cm off along (0, -1)"),
    "knock_3": Scene("pick_cube", knock(-0.0212, 0.0212), 20, "camera 3 cm off along (-1, 1)"),
    "push": Scene("push_cube", knock(-0.0354, 0.0354), 20, "push_cube, camera 5 cm off along (-1, 1)"),
}


@dataclass(frozen=True)
class Variant:
    """A method and the settings in which it differs from its default."""

    method: str = "tmrl"
    modulation: dict[str, Any] = field(default_factory=dict)
    sac: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "tmrl": Variant(),
    "dsrl": Variant("dsrl"),
    "rlpd": Variant("rlpd"),
    "residual": Variant("residual"),
    "rfs": Variant("rfs"),
    **{
        f"csp, sigma {sigma:g}": Variant(modulation={"heads": "z", "sigma_start": sigma})
        for sigma in (0, 0.1, 0.2, 0.3)
    },
}
SEEDS = [100, 101, 102, 103, 104]
EPISODES = 50  # of each evaluation


def folder_of(scene: str, variant: str, seed: int) -> Path:
    return RUNS / scene / variant.replace(", ", "_").replace(" ", "_") / str(seed)


def prepare(task: str, kind: str, seed: int, job: Job) -> Path:
    """Demonstrations and base policy of a seed, made once."""
    folder = RUNS / "bases" / task / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "demos.zarr").exists():
        phases.collect(job, folder)
    if not (folder / kind).exists():
        phases.pretrain.run(folder / "demos.zarr", folder / kind, seed, BaseConfig(kind=kind))
    return folder


def job_of(scene: Scene, variant: Variant, seed: int, demos: int, minutes: float, episodes: int) -> Job:
    steering = {"modulation": variant.modulation}
    overrides = {"sim": scene.sim, "policy": steering, "learner": steering | {"sac": variant.sac}}
    return Job(
        task=scene.task, method=variant.method, seed=seed, minutes=minutes, bias_cm=0.0, demos=demos,
        episodes=episodes, in_process=True, overrides=overrides,
    )  # fmt: skip


def prepare_all(scene_name: str, variant_name: str, seed: int, demos: int) -> None:
    scene, variant = SCENES[scene_name], VARIANTS[variant_name]
    job = job_of(scene, variant, seed, demos, 1, 1)
    prepare(scene.task, METHODS[variant.method].base_kind, seed, replace(job, method="base"))


def run(scene_name: str, variant_name: str, seed: int, minutes: float | None, episodes: int) -> dict:
    """One run, in a process of its own; returns its summary."""
    folder = folder_of(scene_name, variant_name, seed)
    done = folder / "summary.json"
    if done.exists():
        return json.loads(done.read_text())
    scene, variant = SCENES[scene_name], VARIANTS[variant_name]
    job = job_of(scene, variant, seed, 80, minutes or scene.minutes, episodes)
    folder.mkdir(parents=True, exist_ok=True)
    bases = (RUNS / "bases" / scene.task / str(seed)).resolve()
    for name, source in (("demos.zarr", "demos.zarr"), ("base_policy", METHODS[variant.method].base_kind)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(bases / source)
    phases.finetune(job, folder)
    phases.evaluate_final(job, folder)
    training, final = (runlog.episode_events(folder, phase) for phase in ("finetune", "final"))
    outcome = {
        "final_success": summary.success(final),
        "to_80": summary.minutes_to(training, 0.80),
        "to_95": summary.minutes_to(training, 0.95),
        "first_success": next((e.robot_time_s / 60 for e in summary.outcomes(training) if e.success), None),
        "curve": [(round(e.robot_time_s / 60, 2), int(e.success)) for e in summary.outcomes(training)],
    }
    summary.write(folder, outcome)
    return outcome


def table(results: dict[tuple[str, str], dict[int, dict]]) -> str:
    lines = [
        "| scene | variant | final, mean (each seed) | min to 80 %, median (each) | min to 95 %, median (each) | never rewarded |",
        "|---|---|---|---|---|---|",
    ]
    for (scene, variant), runs in results.items():
        finals = [r["final_success"]["value"] for r in runs.values()]
        cells = [f"**{statistics.mean(finals):.2f}** ({' '.join(f'{f:.2f}' for f in finals)})"]
        for key in ("to_80", "to_95"):
            each = [r[key] for r in runs.values()]
            cells.append(f"{_minutes(median(each))} ({' '.join(map(_minutes, each))})")
        blind = sum(r["first_success"] is None for r in runs.values())
        lines.append(f"| {scene} | {variant} | {' | '.join(cells)} | {blind} of {len(runs)} |")
    return "\n".join(lines)


def median(minutes: list[float | None]) -> float | None:
    """Over seeds; a seed that never got there counts as later than any."""
    value = statistics.median([float("inf") if m is None else m for m in minutes])
    return None if value == float("inf") else value


def _minutes(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one scene, two variants, one seed, two minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    work = [(s, v, seed) for s in options.scenes for v in options.only for seed in options.seeds]
    results: dict[tuple[str, str], dict[int, dict]] = {(s, v): {} for s, v, _ in work}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        bases = {(SCENES[s].task, METHODS[VARIANTS[v].method].base_kind, seed): (s, v, seed) for s, v, seed in work}
        for kind in ("csp", "plain"):  # one after the other: they share demonstrations
            list(pool.map(_prepare, [w for (_, k, _), w in bases.items() if k == kind]))
        jobs = {pool.submit(run, s, v, seed, None, EPISODES): (s, v, seed) for s, v, seed in work}
        for job in as_completed(jobs):
            s, v, seed = jobs[job]
            results[s, v][seed] = outcome = job.result()
            print(f"{s}, {v}, seed {seed}: final {outcome['final_success']['value']:.2f}, "
                  f"80 % at {_minutes(outcome['to_80'])}, 95 % at {_minutes(outcome['to_95'])}", flush=True)  # fmt: skip
    print(table(results))


def _prepare(work) -> None:
    prepare_all(*work, 80)


if __name__ == "__main__":
    main()
