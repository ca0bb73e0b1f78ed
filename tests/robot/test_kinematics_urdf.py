"""kinematics.py agrees with what MuJoCo reads from a URDF; benchmarks/kinematics.py does the same with pinocchio."""

import numpy as np
from urdf_reference import mujoco_reference

from tmrl_ros import fr3, kinematics


def test_pose_and_jacobian_are_those_of_the_urdf():
    reference = mujoco_reference()
    for q in np.random.default_rng(0).uniform(fr3.Q_MIN, fr3.Q_MAX, (500, 7)):
        position, rotation, jacobian = reference(q)
        ours = kinematics.forward(q)
        np.testing.assert_allclose(ours[0], position, rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours[1], rotation, rtol=0, atol=1e-9)
        np.testing.assert_allclose(kinematics.jacobian(q), jacobian, rtol=0, atol=1e-9)
