"""fr3.py and kinematics.py against the published numbers, MuJoCo and finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros import fr3, kinematics
from tmrl_ros.robot import model

joints = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(fr3.Q_MIN, fr3.Q_MAX))


@pytest.fixture(scope="module")
def mujoco_fr3():
    return model.build()


def test_ready_pose_is_the_published_one():
    position, rotation = kinematics.forward(fr3.READY_Q)
    np.testing.assert_allclose(position, (0.306891, 0, 0.486882), atol=1e-6)
    np.testing.assert_allclose(rotation, fr3.R_DOWN, atol=1e-9)


def test_home_is_above_the_table_with_the_gripper_down():
    position, rotation = kinematics.forward(fr3.HOME_Q)
    np.testing.assert_allclose(position, fr3.HOME_TCP, atol=1e-9)
    np.testing.assert_allclose(rotation, fr3.R_DOWN, atol=1e-9)
    assert np.all((fr3.HOME_Q > fr3.RECTANGULAR_Q_MIN) & (fr3.HOME_Q < fr3.RECTANGULAR_Q_MAX))


def test_simulated_arm_has_the_same_kinematics(mujoco_fr3):
    mujoco, data = model.mujoco, model.mujoco.MjData(mujoco_fr3)
    for q in np.random.default_rng(0).uniform(fr3.Q_MIN, fr3.Q_MAX, (50, 7)):
        data.qpos[:7] = q
        mujoco.mj_kinematics(mujoco_fr3, data)
        position, rotation = kinematics.forward(q)
        np.testing.assert_allclose(data.site("tcp").xpos, position, atol=1e-9)
        np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3), rotation, atol=1e-9)


def test_simulated_arm_has_the_published_limits_and_masses(mujoco_fr3):
    urdf_min = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
    urdf_max = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
    np.testing.assert_allclose(mujoco_fr3.jnt_range[:7], np.transpose([urdf_min, urdf_max]))
    torques = (87, 87, 87, 87, 12, 12, 12)
    np.testing.assert_allclose(mujoco_fr3.jnt_actfrcrange[:7], np.transpose([np.negative(torques), torques]))
    np.testing.assert_allclose(mujoco_fr3.jnt_range[7:9], [(0, 0.04)] * 2)
    masses = (2.3966, 2.92747, 2.93554, 2.24490, 2.61560, 2.32712, 1.81704, 0.627143, 0.6544, 0.0291, 0.0291)
    np.testing.assert_allclose(mujoco_fr3.body_mass[1:12], masses)
    np.testing.assert_allclose(mujoco_fr3.body("fr3_link4").ipos, (-0.045910, 0.063049, -0.008519))


@given(joints)
def test_jacobian_is_the_derivative_of_the_pose(q):
    jac, step = kinematics.jacobian(q), 1e-6
    rotation = kinematics.forward(q)[1]
    for i in range(7):
        ahead, behind = (kinematics.forward(q + sign * step * np.eye(7)[i]) for sign in (1, -1))
        np.testing.assert_allclose((ahead[0] - behind[0]) / (2 * step), jac[:3, i], atol=1e-6)
        spin = (ahead[1] - behind[1]) @ rotation.T / (2 * step)
        np.testing.assert_allclose((spin[2, 1], spin[0, 2], spin[1, 0]), jac[3:, i], atol=1e-6)


@given(joints, st.floats(-3.1, 3.1))
def test_rotation_error_recovers_the_turn(q, angle):
    rotation = kinematics.forward(q)[1]
    c, s = np.cos(angle), np.sin(angle)
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ rotation
    np.testing.assert_allclose(kinematics.rotation_error(turned, rotation), (0, 0, angle), atol=1e-9)
