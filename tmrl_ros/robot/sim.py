"""A simulated FR3 behind the records a real one fills: joint windows in, joint states, poses and wrench out."""

import os

import mujoco
import numpy as np

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import Shift, Task, Timing
from tmrl_ros.errors import ConfigError
from tmrl_ros.robot import model, trajectory
from tmrl_ros.robot.tasks import Scene, make_task
from tmrl_ros.types import CommandWindow, RobotState, TaskState

FORCE_FILTER_S = 0.1  # time constant of the estimated wrench, as the real robot's is filtered too
START_NS = 1_000_000_000  # stamp 0 means "now" to a trajectory controller, so time starts later


class SimRobot:
    """Physics at 500 Hz, one command tick at a time; the same seed and inputs give the same states bit for bit."""

    def __init__(self, task: Task, timing: Timing, shift: Shift, seed: int):
        self.task, self.shift, self.seed = make_task(task.name), shift, seed
        self.model = model.build(shift.mass_scale, shift.friction_scale)
        self.data = mujoco.MjData(self.model)
        self.stamp_ns = START_NS
        self.tick_ns = round(1e9 / timing.command_hz)
        self._ticks_per_observation = timing.command_hz // timing.action_hz
        self._substeps = round(model.PHYSICS_HZ / timing.command_hz)
        self._substep_s = (1 + np.arange(self._substeps)) / model.PHYSICS_HZ
        self._lead_s = model.DAMPING / model.STIFFNESS
        self._finger_geoms = [int(self.model.body(n.replace("_joint", "_link")).geomadr[0]) for n in fr3.FINGER_NAMES]
        self._cube_geom, self._tcp = self.model.geom("cube").id, self.model.site("tcp").id
        self._renderers = {}
        self.data.qpos[:9] = *fr3.HOME_Q, fr3.FINGER_TRAVEL, fr3.FINGER_TRAVEL
        self._q_desired, self._width_desired = fr3.HOME_Q, 2 * fr3.FINGER_TRAVEL
        self._force_n = np.zeros(3)
        self.reset_objects(0, 0)

    def reset_objects(self, stream: int, episode: int) -> None:
        """Puts the objects to their start state, drawn from (seed, stream, episode) alone."""
        rng = np.random.default_rng([self.seed, stream, episode])
        self.data.qpos[9:12] = self.task.start(rng, self.shift.start_region_offset_m)
        self.data.qpos[12:16] = 1, 0, 0, 0
        self.data.qvel[9:] = 0
        mujoco.mj_forward(self.model, self.data)

    def run_tick(self, window: CommandWindow, width_m: float) -> None:
        """Follows the window and the wanted full gripper width for one tick; an old window holds its last point."""
        age_s = (self.stamp_ns - window.stamp_ns) * 1e-9
        q, dq = trajectory.evaluate(window, age_s + self._substep_s)
        ctrl = np.empty((self._substeps, 9))
        ctrl[:, :7] = q + self._lead_s * dq
        reach_m = fr3.HAND_SPEED * self._substep_s
        move = np.clip(width_m - self._width_desired, -reach_m, reach_m)
        ctrl[:, 7:] = (self._width_desired + move)[:, None] / 2
        torque = np.zeros(7)
        data = self.data
        for row in ctrl:
            data.ctrl[:] = row
            mujoco.mj_step(self.model, data)
            torque += data.qfrc_constraint[:7]
        mujoco.mj_kinematics(self.model, data)  # positions of the new state; mj_step leaves those of the last substep
        self._q_desired, self._width_desired = q[-1], self._width_desired + move[-1]
        weight = 1 - np.exp(-self._substep_s[-1] / FORCE_FILTER_S)
        self._force_n += weight * (self._external_force(torque / self._substeps) - self._force_n)
        self.stamp_ns += self.tick_ns

    def _external_force(self, torque):
        """Force on the TCP, base frame [3] N, averaged over a tick, from the joint torques [7] that contacts cause."""
        jac = kinematics.jacobian(self.data.qpos[:7])
        return np.linalg.solve(jac @ jac.T + 1e-6 * np.eye(6), jac @ torque)[:3]

    @property
    def observing(self) -> bool:
        """Whether an observation belongs to this tick."""
        return self.stamp_ns // self.tick_ns % self._ticks_per_observation == 0

    def robot_state(self) -> RobotState:
        width_m = float(self.data.qpos[7] + self.data.qpos[8])
        return RobotState(
            self.stamp_ns, self.data.qpos[:7].copy(), self.data.qvel[:7].copy(), width_m, self._force_n.copy()
        )

    def tcp_position(self) -> np.ndarray:
        return self.data.site_xpos[self._tcp].copy()

    def tcp_rotation(self) -> np.ndarray:
        """float64 [3, 3] of the TCP in the base frame."""
        return self.data.site_xmat[self._tcp].reshape(3, 3).copy()

    def tcp_quaternion(self) -> np.ndarray:
        """x, y, z, w of the TCP in the base frame."""
        return _quaternion(self.data.site_xmat[self._tcp])

    def desired_tcp_position(self) -> np.ndarray:
        return kinematics.forward(self._q_desired)[0]

    def desired_tcp_quaternion(self) -> np.ndarray:
        return _quaternion(kinematics.forward(self._q_desired)[1].ravel())

    def true_objects(self) -> np.ndarray:
        return self.data.qpos[9:12][None].copy()

    def observed_objects(self) -> np.ndarray:
        """What the camera would report: true positions plus the shift's bias, float64 [n, 3]."""
        return self.true_objects() + self.shift.camera_bias_m

    def task_state(self) -> TaskState:
        pairs = {frozenset(pair) for pair in self.data.contact.geom.tolist()}
        touching = sum(frozenset((self._cube_geom, finger)) in pairs for finger in self._finger_geoms)
        scene = Scene(self.data.qpos[9:12], self.data.site_xpos[self._tcp], touching)
        return TaskState(self.stamp_ns, self.task.success(scene), self.true_objects())

    def qpos(self) -> np.ndarray:
        """Everything needed to draw this moment again: arm 7, fingers 2, cube position 3 and quaternion wxyz 4."""
        return self.data.qpos.copy()

    def render(self, qpos=None, camera="front", height=240, width=320, shadows=True) -> np.ndarray:
        """uint8 [height, width, 3] rgb of this moment, or of a stored qpos; shadows take nine tenths of the time."""
        return self._draw(qpos, camera, height, width, depth=False, shadows=shadows)

    def render_belief(self, qpos, height=240, width=320) -> np.ndarray:
        """For people: a stored qpos, with a ghost of the cube where the policy is told that it is."""
        return self._draw(qpos, "spectator", height, width, depth=False, ghost_m=qpos[9:12] + self.shift.camera_bias_m)

    def render_depth(self, qpos=None, camera="front", height=240, width=320) -> np.ndarray:
        """float32 [height, width] m along the optical axis."""
        return self._draw(qpos, camera, height, width, depth=True)

    def focal_px(self, height: int, camera="front") -> float:
        """The camera's focal length at this image height; the pixels are square."""
        return 0.5 * height / np.tan(np.radians(self.model.camera(camera).fovy[0]) / 2)

    def close(self) -> None:
        """Free what drawing took; in the thread that drew, which the garbage collector does not promise."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _draw(self, qpos, camera, height, width, depth, ghost_m=None, shadows=True):
        renderer = self._renderers.get((height, width))
        if renderer is None:
            if os.environ["MUJOCO_GL"] == "disabled":
                raise ConfigError("pictures need EGL: install libegl1 and libgl1-mesa-dri, or set render to false")
            renderer = self._renderers[height, width] = mujoco.Renderer(self.model, height, width)
        data = self.data
        if qpos is not None:
            data = mujoco.MjData(self.model)
            data.qpos[:] = qpos
            mujoco.mj_forward(self.model, data)
        (renderer.enable_depth_rendering if depth else renderer.disable_depth_rendering)()
        renderer.update_scene(data, camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        if ghost_m is not None:
            model.add_ghost(renderer.scene, ghost_m)
        return renderer.render()


def _quaternion(rotation_flat):
    """x, y, z, w of a row-major rotation [9]."""
    wxyz = np.empty(4)
    mujoco.mju_mat2Quat(wxyz, rotation_flat)
    return np.roll(wxyz, -1)
