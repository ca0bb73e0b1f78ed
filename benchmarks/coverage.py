"""What context smoothing buys and costs: action coverage as sigma grows, and reconstruction error at sigma = 0.

    python benchmarks/coverage.py [--quick] [--seeds 0 1 2] [--cases state goal cloud image]

Scripted pick_cube demonstrations; the last ones are held out. Bases with and without smoothing (CSP, plain BC) learn
from the others, once a seed and case:

    state    all of the state, smoothed
    clean75  the same, with three quarters of the samples at sigma = 0 rather than half
    goal     the same state, of which only object_from_tcp is smoothed
    cloud    proprioception and a rendered point cloud, smoothed
    image    proprioception and a rendered image, smoothed
    image75  the same, with three quarters of the samples at sigma = 0

With --quick few steps are taken; then cloud and image show that they run, not how well.

Of chunks sampled at held-out observations, context noise included, in units of each action's standard deviation:
coverage  spread (standard deviation) at one observation, as a share of that over all demonstrated chunks
distance  energy distance from the chunks at one observation to all demonstrated ones: 0 is the marginal itself
error     mean square of sample less demonstrated chunk, at sigma = 0
score     energy score of the same samples, E|x - y| - E|x - x'| / 2: proper, so narrowness alone does not lower it
"""

import argparse
import json
import os
import platform
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tmrl_ros.config import BaseConfig, CloudConfig, Shift, SupervisorConfig
from tmrl_ros.data import store
from tmrl_ros.data.assembler import demonstrations
from tmrl_ros.perception.camera import CameraModel, Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.dial import SIGMAS, measure_dial
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.robot.view import base_from_camera
from tmrl_ros.session.collected import ACTION_NAMES
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import Observation

RESULTS = Path(__file__).parent / "results"
PROPRIO = [k for k, name in enumerate(STATE_NAMES) if not name.startswith("object")]
CASES = {  # settings of the base
    "state": {},
    "clean75": {"clean_share": 0.75},
    "goal": {"smooth": "object_from_tcp"},
    "cloud": {},
    "image": {},
    "image75": {"clean_share": 0.75},
}
SEEING = {"cloud": "cloud", "image": "front", "image75": "front"}  # case -> the input it adds to proprioception
SAME = {"clean75": "state", "image75": "image"}  # case -> that with the same plain base: all of its samples are clean
IMAGE_PX, DEPTH_PX, POINTS = 64, (240, 320), 256
HORIZON, SAMPLES = 16, 16
KINDS = ("plain", "csp")


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    state: BaseConfig
    seeing: BaseConfig  # for cloud and image
    demos: int = 80
    held_out: int = 20
    rows: int = 64  # held-out observations at which dial and distance are measured
    seeds: tuple[int, ...] = (0, 1, 2)


FULL = Scale(BaseConfig(), BaseConfig(steps=1500, batch=64))
QUICK = Scale(
    BaseConfig(steps=1500, batch=64, width=64, layers=2, learning_rate=2e-3),
    BaseConfig(steps=200, batch=32, width=64, layers=2, learning_rate=3e-3),
    demos=18,
    held_out=6,
    rows=16,
    seeds=(0,),
)


@dataclass(frozen=True)
class Data:
    """Rows of demonstrations: inputs by name, each [n, ...], and the chunk that followed each."""

    inputs: dict[str, np.ndarray]
    chunks: np.ndarray  # float32 [n, HORIZON, action_dim]

    def part(self, rows) -> "Data":
        return Data({name: values[rows] for name, values in self.inputs.items()}, self.chunks[rows])


def collect(scale: Scale, views: Callable[[SimRobot, np.ndarray], dict[str, np.ndarray]]) -> tuple[Data, Data]:
    """Demonstrations through teleoperator, supervisor and assembler, as `views(sim, qpos)` shows them; and held-out."""
    config = SupervisorConfig(mode="collect", episodes=scale.demos + scale.held_out)
    sim, heard, scenes = SimRobot(config.task, config.timing, Shift(), 0), [], {}

    def watch(record) -> None:
        heard.append(record)
        if isinstance(record, Observation):
            scenes[record.state.tobytes()] = sim.qpos()

    InProcessSession(sim, SupervisorCore(config), teleop=ScriptedTeleop(config.task.name, 0), watch=watch).run()
    kept, _ = demonstrations(heard, config.timing)
    meta = store.StoreMeta(
        task="pick_cube", seed=0, calibration="true", state_names=STATE_NAMES, action_names=ACTION_NAMES, action_hz=10
    )
    stored = store.collect([(episode.states, episode.actions) for episode in kept], meta)
    states, chunks = store.chunks(stored, HORIZON)
    seen = [views(sim, scenes[state.tobytes()]) for state in states]
    inputs = {"state": states, **{name: np.stack([view[name] for view in seen]) for name in seen[0]}}
    data, first = Data(inputs, chunks), stored.ends[scale.demos - 1]
    return data.part(slice(first)), data.part(slice(first, None))


class Views:
    """A camera image and a point cloud of a stored moment."""

    def __init__(self, wanted: set[str]):
        self.wanted, self.pipeline = wanted, None

    def __call__(self, sim: SimRobot, qpos: np.ndarray) -> dict[str, np.ndarray]:
        seen = {}
        sim.model.vis.quality.shadowsize = 0  # nine tenths of the time, and no information
        if {"image", "image75"} & self.wanted:
            seen["front"] = sim.render(qpos, height=IMAGE_PX, width=IMAGE_PX)
        if "cloud" in self.wanted:
            self.pipeline = self.pipeline or self._pipeline(sim)
            height, width = DEPTH_PX
            seen["cloud"] = self.pipeline.build({"front": sim.render_depth(qpos, height=height, width=width)})
        return seen

    @staticmethod
    def _pipeline(sim: SimRobot) -> CloudPipeline:
        height, width = DEPTH_PX
        focal = sim.focal_px(height)
        intrinsics = Intrinsics(width, height, (focal, focal), ((width - 1) / 2, (height - 1) / 2))
        return CloudPipeline(CloudConfig(points=POINTS), {"front": CameraModel(intrinsics, base_from_camera(sim))})


def task(name: str, data: Data) -> tuple[Data, list[str]]:
    """What a base of this case sees, and the names of its state."""
    if name not in SEEING:
        return Data({"state": data.inputs["state"]}, data.chunks), STATE_NAMES
    seen = SEEING[name]
    inputs = {"state": data.inputs["state"][:, PROPRIO], seen: data.inputs[seen]}
    return Data(inputs, data.chunks), [STATE_NAMES[k] for k in PROPRIO]


@torch.no_grad()
def measure(base: BasePolicy, train: Data, held_out: Data, rows: int) -> dict:
    """Dial, distance to the marginal, and error at sigma = 0, of chunks in units of each action's deviation."""
    scale = base.action_std
    generator = torch.Generator().manual_seed(0)
    features = base.features(tensors(held_out)).repeat_interleave(SAMPLES, 0)
    z = torch.randn(len(features), HORIZON, base.action_dim, generator=generator)
    chunks = base.sample(features, z, torch.zeros(len(features))) / scale
    samples, truth = chunks.view(-1, SAMPLES, HORIZON * base.action_dim), torch.as_tensor(held_out.chunks) / scale
    some = held_out.part(np.linspace(0, len(held_out.chunks) - 1, rows).astype(int))
    return {
        "error": float((samples - truth.flatten(1)[:, None]).square().mean()),
        "score": energy_score(samples, truth.flatten(1)),
        "coverage": measure_dial(base, some.inputs, train.chunks)["coverage"],
        "distance": distances(base, some, torch.as_tensor(train.chunks)),
    }


def tensors(data: Data) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(values) for name, values in data.inputs.items()}


def energy_score(samples: torch.Tensor, truth: torch.Tensor) -> float:
    """Of samples [n, k, d] against truth [n, d]: E|x - y| - E|x - x'| / 2 over different samples x, x'."""
    k = samples.shape[1]
    apart = torch.cdist(samples, samples).sum((1, 2)) / (k * (k - 1))
    return float(((samples - truth[:, None]).norm(dim=-1).mean(1) - apart / 2).mean())


def distances(base: BasePolicy, some: Data, shown: torch.Tensor) -> list[float]:
    """Energy distance from chunks sampled at one observation to the demonstrated ones, mean over observations."""
    scale, k = base.action_std, 4 * SAMPLES
    generator = torch.Generator().manual_seed(1)
    features = base.features(tensors(some)).repeat_interleave(k, 0)
    z = torch.randn(len(features), HORIZON, base.action_dim, generator=generator)
    noise = torch.randn(len(features), base.context_dim, generator=generator)
    marginal = (shown[torch.randperm(len(shown), generator=generator)[:512]] / scale).flatten(1)
    within = float(torch.cdist(marginal, marginal).sum()) / (len(marginal) * (len(marginal) - 1))
    out = []
    for sigma in SIGMAS:
        x = base.sample(features, z, torch.full((len(features),), float(sigma)), noise) / scale
        x = x.view(-1, k, HORIZON * base.action_dim)
        apart = torch.cdist(x, x).sum((1, 2)) / (k * (k - 1))
        out.append(float((2 * torch.cdist(x, marginal[None]).mean((1, 2)) - apart).mean()) - within)
    return out


def run(scale: Scale, names: list[str], each: Callable[[dict], None] = lambda found: None) -> dict:
    """case -> kind -> one measurement a seed; `each` gets them whenever a seed is done."""
    start_s = time.monotonic()
    train, held_out = collect(scale, Views(set(names)))
    print(f"{len(train.chunks)} rows, {len(held_out.chunks)} held out, {time.monotonic() - start_s:.0f} s", flush=True)
    found: dict = {name: {kind: [] for kind in KINDS} for name in names}
    for seed in scale.seeds:
        for name in names:
            (seen, state_names), (unseen, _) = task(name, train), task(name, held_out)
            for kind in KINDS:
                if kind == "plain" and SAME.get(name) in found:
                    found[name][kind].append(found[SAME[name]][kind][-1])
                    continue
                start_s = time.monotonic()
                config = scale.seeing if name in SEEING else scale.state
                config = config.model_copy(update={"kind": kind, **CASES[name]})
                base = pretrain(seen.inputs, seen.chunks, config, seed, state_names=state_names)
                m = measure(base, seen, unseen, scale.rows)
                found[name][kind].append(m)
                print(f"{name} {kind} seed {seed}: {line(m)}, {time.monotonic() - start_s:.0f} s", flush=True)
        each(found)
    return found


def line(m: dict) -> str:
    return (
        f"error {m['error']:.3f}, score {m['score']:.3f}, coverage {m['coverage'][0]:.2f} -> {m['coverage'][-1]:.2f}, "
        f"distance {m['distance'][0]:.2f} -> {m['distance'][-1]:.2f}"
    )


def mean(found: list[dict], key: str):
    return np.mean([m[key] for m in found], 0)


def ratios(found: dict, name: str, key: str) -> list[float]:
    """CSP's figure by plain BC's, a seed each."""
    return [ours[key] / plain[key] for ours, plain in zip(found[name]["csp"], found[name]["plain"], strict=True)]


def table(found: dict) -> str:
    """Markdown, a row a case and kind; means over the seeds."""
    at = [0, 3, 5, 7, 10]
    dial = " | ".join(f"coverage {SIGMAS[k]:.1f}" for k in at)
    rows = [
        f"| case | base | {dial} | distance 0 | distance 1 | error at 0 | its ratio (by seed) | ratio of score |",
        "|" + "---|" * (len(at) + 7),
    ]
    for name, kinds in found.items():
        for kind, seeds in kinds.items():
            coverage, distance = mean(seeds, "coverage"), mean(seeds, "distance")
            ratio, score = ratios(found, name, "error"), ratios(found, name, "score")
            told = [f"{np.mean(ratio):.3f} ({', '.join(f'{r:.2f}' for r in ratio)})", f"{np.mean(score):.3f}"]
            cells = [name, kind, *(f"{coverage[k]:.2f}" for k in at), f"{distance[0]:.2f}", f"{distance[-1]:.2f}"]
            cells += [f"{mean(seeds, 'error'):.3f}", *(told if kind == "csp" else ["", ""])]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def result(found: dict) -> dict:
    """The figures of each case, and on top those of the first."""
    by_case = {
        name: {
            "coverage_at_1": round(float(mean(kinds["csp"], "coverage")[-1]), 3),
            "coverage_plain": round(float(mean(kinds["plain"], "coverage")[0]), 3),
            "error_ratio_at_0": round(float(np.mean(ratios(found, name, "error"))), 3),
            "score_ratio_at_0": round(float(np.mean(ratios(found, name, "score"))), 3),
        }
        for name, kinds in found.items()
    }
    return next(iter(by_case.values())) | {"by_case": by_case}


def plot(found: dict, path: Path) -> None:
    """Coverage and distance over sigma, a case a column; plain BC is given the same noise, though it has no dial."""
    from tmrl_ros.session.plots import BLUE, MUTED, plt

    figure, axes = plt.subplots(
        2, len(found), figsize=(3.1 * len(found), 5.4), sharex=True, sharey="row", squeeze=False
    )
    for column, (name, kinds) in zip(axes.T, found.items(), strict=True):
        for kind, colour in zip(KINDS, (MUTED, BLUE), strict=True):
            for key, axis in zip(("coverage", "distance"), column, strict=True):
                for m in kinds[kind]:
                    axis.plot(SIGMAS, m[key], color=colour, alpha=0.3, linewidth=1)
                style = "-" if kind == "csp" else "--"
                axis.plot(
                    SIGMAS,
                    mean(kinds[kind], key),
                    style,
                    color=colour,
                    label={"csp": "CSP", "plain": "plain BC, fed noise"}[kind],
                )
        column[0].axhline(mean(kinds["plain"], "coverage")[0], color=MUTED, linewidth=1, label="plain BC")
        column[0].set_title(name)
        column[1].set_xlabel("sigma")
    axes[0, 0].set_ylabel("action coverage\n(share of the demonstrations')")
    axes[1, 0].set_ylabel("energy distance\nto all demonstrated chunks")
    axes[0, 0].legend()
    figure.savefig(path, dpi=130)


def write(found: dict, scale: Scale) -> dict:
    """benchmarks/results/coverage.{json,md,png}: these cases, beside those that ran before under the same settings."""
    RESULTS.mkdir(exist_ok=True)
    path, machine = (
        RESULTS / "coverage.json",
        f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    )
    said = (
        f"{scale.demos} demonstrations of pick_cube, {scale.held_out} held out; a training seed for each ratio, from 0 "
        f"on. State: {settings(scale.state)}. Cloud ({POINTS} points) and image ({IMAGE_PX} px): "
        f"{settings(scale.seeing)}. What the columns mean stands at the top of benchmarks/coverage.py.\n\n"
        f"Machine: {machine}, one thread, no GPU, shared"
    )
    before = json.loads(path.read_text()) if path.exists() else {}
    found = (before["found"] if before.get("said") == said else {}) | found
    found = {name: found[name] for name in CASES if name in found}
    (RESULTS / "coverage.md").write_text(f"{table(found)}\n\n{said}\n")
    detail = {"said": said, "sigma": SIGMAS.tolist(), "result": result(found), "found": found}
    path.write_text(json.dumps(detail, indent=1))
    plot(found, RESULTS / "coverage.png")
    return found


def settings(config: BaseConfig) -> str:
    return f"{config.width} wide, {config.layers} layers, {config.steps} steps of {config.batch}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small networks and one seed, within a minute")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--cases", nargs="+", choices=CASES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scale = QUICK if options.quick else FULL
    if options.seeds:
        scale = replace(scale, seeds=tuple(options.seeds))
    cases = options.cases or [name for name in CASES if not options.quick or name not in SAME]
    save = (lambda found: None) if options.quick else (lambda found: write(found, scale))
    found = run(scale, cases, save)
    print(table(found))
    print(json.dumps(result(found)))


if __name__ == "__main__":
    main()
