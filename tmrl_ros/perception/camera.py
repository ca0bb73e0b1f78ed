"""What turns a pixel and its depth into a point: intrinsics and pose of one camera."""

from dataclasses import dataclass

import numpy as np

from tmrl_ros.errors import ConfigError


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole without distortion; pixel (0, 0) is the centre of the first one."""

    width_px: int
    height_px: int
    focal_px: tuple[float, float]  # along the image's x and y
    centre_px: tuple[float, float]

    def __post_init__(self):
        numbers = (*self.focal_px, *self.centre_px)
        if min(self.width_px, self.height_px) < 1 or min(self.focal_px) <= 0 or not np.isfinite(numbers).all():
            raise ConfigError(
                f"a camera of {self.width_px}x{self.height_px} px, focal length {self.focal_px} px and centre "
                f"{self.centre_px} px does not exist; take size and K from its camera_info"
            )

    @classmethod
    def centred(cls, width_px: int, height_px: int, focal_px: float) -> "Intrinsics":
        """Square pixels, the axis through the middle of the image."""
        return cls(width_px, height_px, (focal_px, focal_px), ((width_px - 1) / 2, (height_px - 1) / 2))

    @property
    def size(self) -> tuple[int, int]:
        """height, width: the shape of its images."""
        return self.height_px, self.width_px

    @property
    def matrix(self) -> np.ndarray:
        """K, float64 [3, 3]."""
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


@dataclass(frozen=True)
class CameraModel:
    """A camera in its place; its frame is optical: x right, y down, z along the axis."""

    intrinsics: Intrinsics
    base_from_camera: np.ndarray  # float64 [4, 4], its pose in the base frame

    def __post_init__(self):
        object.__setattr__(self, "base_from_camera", rigid(self.base_from_camera, "base_from_camera"))

    def directions(self) -> np.ndarray:
        """float64 [3, height * width]: what a pixel's point moves by in the base frame, per metre of depth."""
        v, u = np.divmod(np.arange(np.prod(self.intrinsics.size)), self.intrinsics.width_px)
        return self.base_from_camera[:3, :3] @ np.linalg.solve(
            self.intrinsics.matrix, np.stack([u, v, np.ones_like(u)])
        )


def rigid(pose, name: str) -> np.ndarray:
    """`pose` as float64 [4, 4], or ConfigError where it is no rotation and translation."""
    pose = np.asarray(pose, np.float64)
    ok = pose.shape == (4, 4) and np.isfinite(pose).all() and np.allclose(pose[3], (0, 0, 0, 1))
    rotation = pose[:3, :3] if ok else np.eye(3)
    if not ok or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
        raise ConfigError(f"{name} must be a rigid transform [4, 4] in metres, not {pose.tolist()}; calibrate again")
    return pose
