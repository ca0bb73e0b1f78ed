"""Pictures of an episode for the report: lockstep makes the in-process session repeat the nodes' episode exactly."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from tmrl_ros.config import Model
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.types import Mode, Observation

EVERY = 3  # observations a picture


def film_first_episode(nodes: Mapping[str, Model], folder: Path) -> None:
    """Run the first episode of an evaluation by these nodes; write pictures to `folder` as 000.png, 001.png, ..."""
    scenes = []

    def watch(record) -> None:
        if isinstance(record, Observation) and session.supervisor.status().mode == Mode.POLICY:
            scenes.append(session.sim.qpos())

    one = nodes["supervisor"].model_copy(update={"episodes": 1})
    session = InProcessSession.of_nodes({**nodes, "supervisor": one}, watch)
    session.sparing = False
    session.run()
    scenes.append(session.sim.qpos())
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for number, qpos in enumerate([*scenes[:-1:EVERY], scenes[-1]]):
        Image.fromarray(session.sim.render_belief(qpos)).save(folder / f"{number:03d}.png")
    session.sim.close()
