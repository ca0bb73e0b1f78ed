"""A tiny base policy, and the parameters of short sessions over the real nodes."""

from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
import torch

from tmrl_ros.config import BaseConfig, Shift, SupervisorConfig, Timing
from tmrl_ros.data import store
from tmrl_ros.data.assembler import demonstrations
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.session import cli
from tmrl_ros.session.graph import NodeSpec, SessionOptions, build
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import ACTION_NAMES

DEMOS = 10
TINY_BASE = BaseConfig(width=64, layers=2, steps=800, batch=128)  # lifts the cube about every third time
TINY_SAC = {"batch": 16, "updates_per_decision": 2, "warmup_episodes": 1}
FORCE_HOLD_N = 10.0  # so low that a miss holds the arm now and then
QUICK_TASK = {"episode_s": 6.0, "reset_s": 2.0}


@dataclass(frozen=True)
class Pretrained:
    demos: Path  # demonstration store
    base: Path  # folder of the base policy


@pytest.fixture
def tmrl(monkeypatch, capsys):
    """tmrl(*words): (status, stdout, stderr) of the real command."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["tmrl", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> Pretrained:
    """A handful of scripted demonstrations and a small base that learned a little from them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pretrained")
    made = Pretrained(folder / "demos.zarr", folder / "base")
    config = SupervisorConfig(mode="collect", episodes=DEMOS)
    records = []
    sim = SimRobot(config.task, config.timing, Shift(), config.seed)
    teleop = ScriptedTeleop(config.task.name, config.seed)
    InProcessSession(sim, SupervisorCore(config), teleop=teleop, watch=records.append).run()
    kept, _ = demonstrations(records, Timing())
    meta = store.StoreMeta(
        task="pick_cube",
        seed=0,
        calibration="true",
        state_names=STATE_NAMES,
        action_names=list(ACTION_NAMES),
        action_hz=10,
    )
    store.write(made.demos, store.collect([(episode.states, episode.actions) for episode in kept], meta))
    states, chunks = store.chunks(store.read(made.demos), Timing().action_horizon)
    pretrain({"state": states}, chunks, TINY_BASE, 0).save(made.base, {"task": "pick_cube"})
    return made


@pytest.fixture(scope="session")
def finetuning(pretrained):
    """finetuning(run_dir, patience_s, **options): the graph of a short session with a small learner.

    `learner_patience_s`: how long the policy waits for that, where it is not as patient as the others.
    """

    def specs(run_dir: Path, patience_s: float, learner_patience_s: float | None = None, **options) -> list[NodeSpec]:
        chosen = SessionOptions(base=str(pretrained.base), run_dir=str(run_dir), **options)
        shared = {"timing.lockstep_timeout_s": patience_s, "task": QUICK_TASK}
        own = {
            "policy": {"modulation.width": 32, "timing.lockstep_timeout_s": learner_patience_s or patience_s},
            "supervisor": {"limits.force_hold_n": FORCE_HOLD_N},
            "learner": {"modulation.width": 32, "sac": TINY_SAC, "checkpoint_episodes": 1},
        }
        names = ("sim", "perception", "recorder", "policy", "learner", "supervisor")
        return build("finetune", chosen, {name: shared | own.get(name, {}) for name in names})

    return specs
