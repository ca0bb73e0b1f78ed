"""The FR3's kinematics read from a URDF by libraries that know nothing of kinematics.py.

Joint origins as franka_description writes them, so a wrong reading of the DH table would show too. A reader returns a
function of q [7] to TCP position [3], rotation [3, 3] and Jacobian [6, 7] in the base frame.
"""

import numpy as np

HALF = 1.570796326794897
ORIGINS = (  # xyz m, rpy rad of fr3_joint1..7 in the link before
    ((0, 0, 0.333), (0, 0, 0)),
    ((0, 0, 0), (-HALF, 0, 0)),
    ((0, -0.316, 0), (HALF, 0, 0)),
    ((0.0825, 0, 0), (HALF, 0, 0)),
    ((-0.0825, 0.384, 0), (-HALF, 0, 0)),
    ((0, 0, 0), (HALF, 0, 0)),
    ((0.088, 0, 0), (HALF, 0, 0)),
)
FIXED = (((0, 0, 0.107), (0, 0, 0)), ((0, 0, 0), (0, 0, -HALF / 2)), ((0, 0, 0.1034), (0, 0, 0)))  # link8, hand, TCP


def urdf() -> str:
    """Links l0 to l10, each with a mass because MuJoCo wants one; l10 is the TCP."""
    mass = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    parts = [f'<link name="l{i}">{mass}</link>' for i in range(11)]
    for i, (xyz, rpy) in enumerate((*ORIGINS, *FIXED), 1):
        kind, axis = ("revolute", '<axis xyz="0 0 1"/>') if i <= 7 else ("fixed", "")
        origin = f'<origin xyz="{" ".join(map(repr, xyz))}" rpy="{" ".join(map(repr, rpy))}"/>'
        ends = f'<parent link="l{i - 1}"/><child link="l{i}"/><limit lower="-9" upper="9" effort="1" velocity="1"/>'
        parts.append(f'<joint name="j{i}" type="{kind}">{origin}{axis}{ends}</joint>')
    compiler = '<mujoco><compiler fusestatic="false" discardvisual="true"/></mujoco>'
    return f'<robot name="fr3">{compiler}{"".join(parts)}</robot>'


def mujoco_reference():
    import mujoco

    model = mujoco.MjModel.from_xml_string(urdf())
    data, body = mujoco.MjData(model), model.body("l10").id
    jac = np.empty((6, 7))

    def reference(q):
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacBody(model, data, jac[:3], jac[3:], body)
        return data.xpos[body].copy(), data.xmat[body].reshape(3, 3).copy(), jac.copy()

    return reference


def pinocchio_reference():
    import pinocchio

    model = pinocchio.buildModelFromXML(urdf())
    data, frame = model.createData(), model.getFrameId("l10")

    def reference(q):
        jac = pinocchio.computeFrameJacobian(model, data, q, frame, pinocchio.LOCAL_WORLD_ALIGNED)
        pinocchio.framesForwardKinematics(model, data, q)
        pose = data.oMf[frame]
        return pose.translation.copy(), pose.rotation.copy(), jac

    return reference


READERS = {"pinocchio": pinocchio_reference, "mujoco": mujoco_reference}
