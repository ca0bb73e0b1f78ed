"""How perception sees the first fresh start: the camera's image with crop and cloud, before and after it moved."""

from pathlib import Path

import numpy as np
from PIL import Image

from tmrl_ros.config import PerceptionConfig, SimConfig
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.overlay import overlay
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.sim_camera import SimCamera

LARGE_PX = 480  # height of an image without cloud, enlarged


def write_seen(sim_config: SimConfig, perception: PerceptionConfig, start_stream: int, folder: Path) -> None:
    """folder/calibrated.png and folder/moved.png: with the camera where it was calibrated, and where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    still = sim_config.shift.model_copy(update={"camera_moved_m": (0.0, 0.0, 0.0)})
    for name, shift in (("calibrated", still), ("moved", sim_config.shift)):
        sim = SimRobot(sim_config.task, sim_config.timing, shift, sim_config.seed)
        sim.reset_objects(start_stream, 0)
        Image.fromarray(_picture(SimCamera(sim, sim_config.camera, shift), perception)).save(folder / f"{name}.png")
        sim.close()


def _picture(camera: SimCamera, config: PerceptionConfig) -> np.ndarray:
    image, ((name, view),) = camera.color(), config.cameras.items()
    if not view.cloud:
        return np.kron(image, np.ones((LARGE_PX // len(image), LARGE_PX // len(image), 1), np.uint8))
    model = Calibration.read(Path(config.calibration)).cameras[name].camera()
    pipeline, depth = CloudPipeline(config.cloud, {name: model}, config.seed), {name: camera.depth()}
    colours = {name: image} if config.cloud.colour else None
    crop, cloud = pipeline.crop(depth), pipeline.build(depth, colours)
    return overlay(image, model, crop, cloud, config.cloud.crop_min_m, config.cloud.crop_max_m)
