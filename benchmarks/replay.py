"""Is a recorded session what the code would do again? Chunks bit for bit, transitions in any order of arrival.

    python benchmarks/replay.py [RUN] [--quick]

RUN is the folder of a finished run (its finetune/bag is taken) or session (its bag). Without one, a session is recorded
first, over ROS, with a small base policy: 10 robot-minutes, with --quick 1. The last line is
{"chunks", "equal", "transitions_equal"}; how the comparison is made: tmrl_ros/session/replay.py.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: as the nodes have it

import argparse
import json
import tempfile
from pathlib import Path

from tmrl_ros.config import BaseConfig, PretrainConfig, Shift, SupervisorConfig
from tmrl_ros.data import store
from tmrl_ros.data.assembler import demonstrations
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.session import graph, pretrain, replay, starter
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import ACTION_NAMES

BASE = BaseConfig(width=64, layers=2, steps=500)  # good enough to be steered
DEMOS = 10
WARMUP_EPISODES = 2  # so that a short session, too, has many actor versions


def record(folder: Path, minutes: float) -> Path:
    """A fine-tuning session of `minutes` over ROS in `folder`; returns its bag."""
    base(folder)
    run_dir = folder / "finetune"
    options = graph.SessionOptions(minutes=minutes, bias_cm=5.0, base=str(folder / "base"), run_dir=str(run_dir))
    specs = graph.build("finetune", options, {"learner": {"sac.warmup_episodes": WARMUP_EPISODES}})
    starter.run_session(specs, run_dir)
    return run_dir / "bag"


def base(folder: Path) -> Path:
    """A small base policy in folder/base, from demonstrations in folder/demos.zarr."""
    _collect(folder / "demos.zarr")
    pretrain.run(folder / "demos.zarr", folder / "base", PretrainConfig(policy=BASE))
    return folder / "base"


def _collect(path: Path) -> None:
    """Demonstrations by the scripted person, in this process."""
    config, records = SupervisorConfig(mode="collect", episodes=DEMOS), []
    sim = SimRobot(config.task, config.timing, Shift(), config.seed)
    teleop = ScriptedTeleop(config.task.name, config.seed)
    InProcessSession(sim, SupervisorCore(config), teleop=teleop, watch=records.append).run()
    kept, _ = demonstrations(records, config.timing)
    meta = store.StoreMeta(
        task=config.task.name,
        seed=config.seed,
        calibration="true",
        state_names=STATE_NAMES,
        action_names=list(ACTION_NAMES),
        action_hz=config.timing.action_hz,
    )
    store.write(path, store.collect([(episode.states, episode.actions) for episode in kept], meta))


def bag_of(run: Path) -> Path:
    """The fine-tuning bag of a run, or the bag of a session."""
    return next((run / part for part in ("finetune/bag", "bag") if (run / part).is_dir()), run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="folder of a finished run; none: record a session")
    parser.add_argument("--quick", action="store_true", help="record one robot-minute only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bag = bag_of(options.run) if options.run else record(Path(scratch), 1.0 if options.quick else 10.0)
        print(json.dumps(replay.run(bag).result()))


if __name__ == "__main__":
    main()
