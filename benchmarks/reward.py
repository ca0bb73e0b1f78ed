"""A classifier of success from rendered frames: trained as `tmrl reward train` does, judged on episodes it never saw.

    python benchmarks/reward.py [--quick] [--episodes 60] [--seed 0]

A scripted person picks the cube before the simulated front camera, waits a second with it in the air and says success.
In a third of the episodes the hand closes beside the cube and goes up without it, which the person calls a failure.
Judged by that person's labels, frame by frame, and by the simulation's truth about every frame of the held-out
episodes, in doubt or not; and as the node runs it: success once 4 of 5 frames show it.

The last line is {"precision", "recall", "unknown_share"}, of the labels.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

from tmrl_ros.config import RewardConfig, Shift, SupervisorConfig, Task
from tmrl_ros.reward import training
from tmrl_ros.reward.frames import Frames, labels_of
from tmrl_ros.reward.verdict import Debounce, Verdict, verdicts
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.teleop_script import JUMP_M, ScriptedTeleop
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import EpisodeEvent, Observation

RESULTS = Path(__file__).parent / "results"
HEIGHT_PX, WIDTH_PX = 96, 128
WAIT_NS = 1_000_000_000  # for which the person looks at the cube in the air
BESIDE = 1 / 3  # of the episodes


class PatientSim(SimRobot):
    """Its success is a person's: said a second after it was there to see."""

    _since_ns = None

    def task_state(self):
        state = super().task_state()
        self.true = state.success
        if not state.success:
            self._since_ns = None
            return state
        self._since_ns = self._since_ns or state.stamp_ns
        return (
            state if state.stamp_ns - self._since_ns >= WAIT_NS else type(state)(state.stamp_ns, False, state.objects_m)
        )


class Clumsy(ScriptedTeleop):
    """In some episodes the hand closes beside the cube, and goes up as if it held it."""

    def __init__(self, task: str, seed: int):
        super().__init__(task, seed)
        self._rng_beside, self._true_m, self._beside_m = np.random.default_rng([seed, 9]), np.full(3, np.inf), None

    def answer(self, stamp_ns, tcp, cube, width_m, success):
        if not np.linalg.norm(cube - self._true_m) < JUMP_M:
            side = self._rng_beside.choice([-1.0, 1.0])
            beside = np.array([side * self._rng_beside.uniform(0.05, 0.08), self._rng_beside.uniform(-0.05, 0.05), 0.0])
            self._beside_m = beside if self._rng_beside.random() < BESIDE else None
        self._true_m = np.array(cube)
        if self._beside_m is None:
            return super().answer(stamp_ns, tcp, cube, width_m, success)
        believed = cube + self._beside_m
        if width_m < 0.0485 and np.linalg.norm(believed[:2] - tcp[:2]) < 0.012:
            believed, width_m = np.array([*believed[:2], tcp[2]]), 0.04  # it thinks that it holds the cube
        return super().answer(stamp_ns, tcp, believed, max(width_m, 0.031), success)


def recorded(episodes: int, seed: int) -> tuple[Frames, np.ndarray]:
    """Labelled frames of so many episodes, and the simulation's truth about each, bool [n]."""
    task = Task(episode_s=6.0, reset_s=2.0)
    config = SupervisorConfig(mode="collect", episodes=10**6, task=task, seed=seed)
    sim, settings = PatientSim(task, config.timing, Shift(), seed), RewardConfig().training
    seen, ended = [], []

    def watch(record):
        if isinstance(record, Observation) and session.supervisor.runner.episode:
            seen.append((sim.render(height=HEIGHT_PX, width=WIDTH_PX), sim.true))
        elif isinstance(record, EpisodeEvent) and record.kind == "ended":
            ended.append((list(seen), record.success))
            seen.clear()
        elif isinstance(record, EpisodeEvent):
            seen.clear()

    session = InProcessSession(sim, SupervisorCore(config), teleop=Clumsy(task.name, seed), watch=watch)
    session.supervisor.start()
    while len(ended) < episodes:
        session.tick()
    images = np.array([image for some, _ in ended for image, _ in some])
    labels = np.concatenate([labels_of(len(some), success, settings) for some, success in ended])
    numbers = np.concatenate([np.full(len(some), k, np.int32) for k, (some, _) in enumerate(ended)])
    return Frames({"front": images}, labels, numbers), np.array([true for some, _ in ended for _, true in some])


def debounced(classifier, held: Frames, truth, config: RewardConfig) -> tuple[int, int, int]:
    """Of the held-out episodes: how many are successes, how many of those are said to be, and how many others are."""
    said = verdicts(classifier.probability(held.inputs), config.training.success_at, config.training.failure_at)
    won = found = wrong = 0
    for episode in np.unique(held.episodes):
        rows, debounce = held.episodes == episode, Debounce(config.needed, config.frames)
        called = [debounce.add(10**8 * (k + 1), Verdict(verdict)) for k, verdict in enumerate(said[rows])]
        won += bool(truth[rows].any())
        found += bool(truth[rows].any() and any(called))
        wrong += bool(not truth[rows].any() and any(called))
    return won, found, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 episodes and 100 steps")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = RewardConfig()
    settings = config.training.model_copy(update={"steps": 100} if options.quick else {})
    began_s = time.process_time()
    every, truth = recorded(10 if options.quick else options.episodes, options.seed)
    recorded_s = time.process_time() - began_s
    learned, judged = training.split(every, settings.held_out, options.seed)
    classifier = training.fit(learned, settings, options.seed, lambda step, loss: None)
    trained_s = time.process_time() - began_s - recorded_s
    labels = training.judge(classifier, judged)
    rows = np.isin(every.episodes, judged.episodes)
    held, true = every.take(rows), truth[rows]
    all_true = training.judge(classifier, Frames(held.inputs, true.astype(np.int8), held.episodes))
    won, found, wrong = debounced(classifier, held, true, config)
    text = "\n".join(
        [
            "| judged by | precision | recall | unknown | frames | episodes |",
            "|---|---|---|---|---|---|",
            _row("the person's labels", labels),
            _row("the simulation's truth", all_true),
            "",
            f"With {config.needed} of {config.frames} frames: success said in {found} of {won} held-out episodes that "
            f"had it, and in {wrong} of {labels.episodes - won} that had not. {len(every)} frames of "
            f"{every.episodes.max() + 1} episodes, {HEIGHT_PX}x{WIDTH_PX} px; {recorded_s:.0f} s of CPU to record, "
            f"{trained_s:.0f} s to train.",
        ]
    )
    print(text)
    if not options.quick:
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        command = f"python benchmarks/reward.py --episodes {options.episodes} --seed {options.seed}"
        (RESULTS / "reward.md").write_text(f"# Success from images\n\n`{command}`, {machine}.\n\n{text}\n")
    values = {"precision": labels.precision, "recall": labels.recall, "unknown_share": labels.unknown_share}
    print(json.dumps({name: round(value, 4) for name, value in values.items()}))


def _row(name: str, report: training.Report) -> str:
    values = (report.precision, report.recall, report.unknown_share)
    return f"| {name} | {' | '.join(f'{v:.3f}' for v in values)} | {report.frames} | {report.episodes} |"


if __name__ == "__main__":
    main()
