"""Pictures of an episode for the report: lockstep makes the in-process session repeat the nodes' episode exactly."""

from pathlib import Path

from PIL import Image

from tmrl_ros.config import PolicyConfig, Shift, SupervisorConfig
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.server import PolicyServer
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import Mode, Observation, SessionState

EVERY = 3  # observations a picture


def film_first_episode(policy: PolicyConfig, supervisor: SupervisorConfig, shift: Shift, folder: Path) -> None:
    """Run the first episode of an evaluation and write its pictures to `folder` as 000.png, 001.png, ..."""
    server = PolicyServer(policy, BasePolicy.load(Path(policy.base)))
    sim = SimRobot(supervisor.task, supervisor.timing, shift, supervisor.seed)
    core = SupervisorCore(supervisor.model_copy(update={"episodes": 1}))
    scenes = []

    def watch(record) -> None:
        if isinstance(record, Observation) and core.status().mode == Mode.POLICY:
            scenes.append(sim.qpos())

    session = InProcessSession(sim, core, server, watch=watch)
    core.start()
    while core.status().state != SessionState.ENDED:
        session.tick()
    scenes.append(sim.qpos())
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for number, qpos in enumerate([*scenes[:-1:EVERY], scenes[-1]]):
        Image.fromarray(sim.render_belief(qpos)).save(folder / f"{number:03d}.png")
