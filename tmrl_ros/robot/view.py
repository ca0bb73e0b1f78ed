"""Where a simulated camera is and what it would see from elsewhere: the truth that perception is measured against."""

import mujoco
import numpy as np

from tmrl_ros.robot.sim import SimRobot

OPTICAL = np.diag([1.0, -1, -1])  # a MuJoCo camera looks along -z with y up, an optical frame along z with y down


def base_from_camera(sim: SimRobot, camera="front") -> np.ndarray:
    """float64 [4, 4]: the true pose of the camera's optical frame in the base frame."""
    pose = np.eye(4)
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, sim.model.camera(camera).quat)
    pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3) @ OPTICAL, sim.model.camera(camera).pos
    return pose


def place_camera(sim: SimRobot, position_m, target_m, camera="front") -> None:
    """Moves the camera: at position_m [3], looking at target_m [3], the image's x level."""
    back = np.asarray(position_m, np.float64) - target_m
    back /= np.linalg.norm(back)
    right = np.cross((0, 0, 1), back)
    right /= np.linalg.norm(right)
    sim.model.camera(camera).pos[:] = position_m
    mujoco.mju_mat2Quat(sim.model.camera(camera).quat, np.column_stack([right, np.cross(back, right), back]).ravel())
    mujoco.mj_forward(sim.model, sim.data)


def surface_distance(sim: SimRobot, points: np.ndarray) -> np.ndarray:
    """float64 [n, geoms]: how far points [n, 3] (m, base frame) lie outside (or, negative, inside) each shape."""
    return np.stack([_outside(sim, geom, points) for geom in range(sim.model.ngeom)], 1)


def _outside(sim, geom, points):
    size, kind = sim.model.geom_size[geom], sim.model.geom_type[geom]
    local = (points - sim.data.geom_xpos[geom]) @ sim.data.geom_xmat[geom].reshape(3, 3)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        beyond = np.abs(local) - size
        return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        local[:, 2] -= np.clip(local[:, 2], -size[1], size[1])
        return np.linalg.norm(local, axis=1) - size[0]
    raise NotImplementedError(f"geometry of kind {kind}")
