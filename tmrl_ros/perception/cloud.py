"""Depth images of any number of cameras to one cloud of a fixed size in the robot's base frame."""

from collections.abc import Mapping

import numpy as np

from tmrl_ros.config import CloudConfig
from tmrl_ros.errors import ConfigError, FrameError
from tmrl_ros.perception.camera import CameraModel
from tmrl_ros.perception.downsample import VoxelGrid, fixed_size
from tmrl_ros.perception.gate import DepthGate, Plane
from tmrl_ros.perception.table import fit_table


class CloudPipeline:
    """Crop, table, outliers, voxels, farthest points; the same images and seed give the same cloud bit for bit."""

    def __init__(self, config: CloudConfig, cameras: Mapping[str, CameraModel], seed: int = 0):
        if not cameras:
            raise ConfigError("a cloud needs at least one camera; calibrate one")
        self._config, self._cameras, self._seed = config, dict(cameras), seed
        self._start = np.random.default_rng(seed).random()
        self._grid = VoxelGrid(config.crop_min_m, config.crop_max_m, config.voxel_m, config.neighbours)
        self.table = Plane((0.0, 0.0, 1.0), config.table_height_m) if config.table == "height" else None
        self._gates = {name: self._gate(camera) for name, camera in self._cameras.items()}

    def move(self, name: str, camera: CameraModel) -> None:
        """A new pose of a camera that the robot carries; costs some 20 ms at 640x480."""
        self._cameras[name], self._gates[name] = camera, self._gate(camera)

    def build(self, depths: Mapping[str, np.ndarray], colours: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """float32 [points, 3], or with colour [points, 6], from one image a camera.

        depths: [height, width] uint16 (counts) or float32 (m), 0 and NaN where nothing is seen; colours: uint8
        [height, width, 3] rgb, aligned to depth. Fewer voxels than points: they repeat.
        """
        self._check(depths, colours)
        if self._config.table == "fit" and self.table is None:
            self.table = fit_table(self.crop(depths), self._seed)
            self._gates = {name: self._gate(camera) for name, camera in self._cameras.items()}
        parts = {name: gate.points(depths[name]) for name, gate in self._gates.items()}
        points = np.concatenate([points for points, _ in parts.values()], 1)
        centroids = self._grid.centroids(points, self._values(parts, colours))
        if len(centroids) < self._config.points_min:
            seen = ", ".join(f"{name}: {len(pixels)} points" for name, (_, pixels) in parts.items())
            raise FrameError(
                f"{len(centroids)} voxels remain of the images ({seen} in the crop), {self._config.points_min} are "
                "needed; check depth, camera pose and crop"
            )
        return fixed_size(centroids, self._config.points, self._start)

    def crop(self, depths: Mapping[str, np.ndarray]) -> np.ndarray:
        """Every point in the crop, float32 [3, n] m: what the later steps start from."""
        return np.concatenate([gate.points(depths[name])[0] for name, gate in self._gates.items()], 1)

    def _gate(self, camera):
        c, table = self._config, self.table
        plane = Plane(table.normal, table.offset_m + c.table_clearance_m) if table else None
        return DepthGate(camera, c.crop_min_m, c.crop_max_m, plane, c.depth_unit_m)

    def _values(self, parts, colours):
        """Colours [3, n] in 0..1 of the kept pixels, or [0, n]."""
        if not self._config.colour:
            return ()
        rows = [colours[name].reshape(-1, 3)[pixels] for name, (_, pixels) in parts.items()]
        return np.concatenate(rows).T / np.float32(255)

    def _check(self, depths, colours):
        wanted = {"depth": depths} | ({"colour": colours or {}} if self._config.colour else {})
        for kind, images in wanted.items():
            for name, camera in self._cameras.items():
                if name not in images:
                    raise FrameError(f"no {kind} image of camera {name}; there are: {', '.join(images) or 'none'}")
                image, size = images[name], camera.intrinsics.size
                if kind == "colour" and (image.dtype != np.uint8 or image.shape != (*size, 3)):
                    raise FrameError(f"colour of {name} is {image.dtype} {image.shape}; it must be uint8 {(*size, 3)}")
