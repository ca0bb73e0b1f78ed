"""The simulated FR3 with hand, table, cube and camera: a MuJoCo model built from the numbers in fr3.py."""

import mujoco
import numpy as np

from tmrl_ros import fr3

PHYSICS_HZ = 500
CUBE_M = 0.045  # edge
CUBE_KG = 0.1
# A pair of surfaces takes the larger of the two: the cube grips in the hand and slides on the table.
FINGER_FRICTION = 1.2
CUBE_FRICTION = 0.4
# A compliant controller with gravity compensated: follows a slow reference within 4 mm, and against resistance pushes
# with no more than TORQUE (Nm) a joint, about 20 N at the hand.
STIFFNESS = np.array([1000.0, 1000, 1000, 1000, 500, 400, 250])  # Nm/rad
DAMPING = np.array([80.0, 80, 80, 80, 25, 25, 15])  # Nm s/rad
TORQUE = np.array([8.0, 8, 8, 8, 4, 4, 3])
ARMATURE = np.array([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05])  # kg m^2; also keeps link7's tiny inertia well conditioned
FINGER_STIFFNESS, FINGER_DAMPING = 2000.0, 60.0  # N/m, N s/m

SPECTATOR_M = (1.0, 0.6, 0.42)  # from where the report's pictures are taken

# Links as capsules in the link frame: (from, to, radius).
LINK_CAPSULES = (
    (((-0.08, 0, 0.06), (0, 0, 0.06), 0.06), ((0, 0, 0.06), (0, 0, 0.14), 0.06)),
    (((0, 0, -0.19), (0, 0, -0.02), 0.06),),
    (((0, 0, -0.06), (0, 0, 0.06), 0.06), ((0, -0.02, 0), (0, -0.19, 0), 0.06)),
    (((0, 0, -0.12), (0, 0, -0.04), 0.06), ((0, 0, -0.04), (0.0825, 0, 0), 0.055)),
    (((0, 0, -0.05), (0, 0, 0.05), 0.06), ((-0.0825, 0.02, 0), (-0.0825, 0.14, 0), 0.055)),
    (
        ((0, 0, -0.26), (0, 0.05, -0.2), 0.055),
        ((0, 0.08, -0.13), (0, 0.06, -0.02), 0.035),
        ((0, 0, -0.02), (0, 0, 0), 0.05),
    ),
    (((0, 0, -0.03), (0, 0, 0.01), 0.05), ((0.02, 0, 0), (0.088, 0, 0), 0.045)),
    (((0, 0, -0.04), (0, 0, 0.08), 0.045),),
)
WHITE, DARK, BLUE, WOOD = (0.93, 0.93, 0.94, 1), (0.2, 0.21, 0.23, 1), (0.16, 0.42, 0.85, 1), (0.75, 0.68, 0.58, 1)
GHOST = (0.95, 0.5, 0.1, 0.45)
ROBOT, WORLD = 1, 2  # collision groups: robot parts meet the world, the world meets everything, robot parts never meet


def build(mass_scale=1.0, friction_scale=1.0):
    """A compiled MjModel; joints fr3_joint1..7, two fingers, cube (free); actuators in the same order; site `tcp`."""
    spec = mujoco.MjSpec()
    spec.modelname = "fr3"
    spec.compiler.degree = False
    spec.compiler.balanceinertia = True
    spec.option.timestep = 1 / PHYSICS_HZ
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10  # friction as hard as the normal force: a grasp does not creep
    spec.option.iterations, spec.option.ls_iterations = 20, 20
    hand = _arm(spec)
    _fingers(spec, hand, friction_scale)
    _scene(spec, mass_scale, friction_scale)
    return spec.compile()


def _arm(spec):
    """Adds link0..7 and the hand; returns the hand's body."""
    body = spec.worldbody.add_body(name="fr3_link0")
    _inertial(body, fr3.LINK_INERTIALS[0])
    _capsules(body, 0)
    for i in range(7):
        half = fr3.DH_ALPHA[i] / 2
        s, c, d = round(np.sin(fr3.DH_ALPHA[i])), round(np.cos(fr3.DH_ALPHA[i])), fr3.DH_D[i]
        body = body.add_body(
            name=f"fr3_link{i + 1}", pos=(fr3.DH_A[i], -d * s, d * c), quat=(np.cos(half), np.sin(half), 0, 0)
        )
        body.gravcomp = 1
        joint = body.add_joint(name=fr3.JOINT_NAMES[i], axis=(0, 0, 1), range=(fr3.Q_MIN[i], fr3.Q_MAX[i]))
        joint.armature, joint.actfrcrange = ARMATURE[i], (-fr3.TORQUE_MAX[i], fr3.TORQUE_MAX[i])
        _inertial(body, fr3.LINK_INERTIALS[i + 1])
        _capsules(body, i + 1)
        _actuator(spec, fr3.JOINT_NAMES[i], STIFFNESS[i], DAMPING[i], TORQUE[i])
    half = fr3.HAND_YAW / 2
    hand = body.add_body(name="fr3_hand", pos=(0, 0, fr3.FLANGE_D), quat=(np.cos(half), 0, 0, np.sin(half)))
    hand.gravcomp = 1
    _inertial(hand, fr3.HAND_INERTIAL)
    _box(hand, (0, 0, 0.03), (0.03, 0.1, 0.033), WHITE)
    hand.add_site(name="tcp", group=4, pos=(0, 0, fr3.HAND_TCP_D))
    return hand


def _fingers(spec, hand, friction_scale):
    """Adds two sliding fingers; the inner faces touch at width 0 and the tips end 9 mm beyond the TCP."""
    for name, side in zip(fr3.FINGER_NAMES, (1, -1), strict=True):
        finger = hand.add_body(name=name.replace("_joint", "_link"), pos=(0, 0, fr3.FINGER_D), gravcomp=1)
        slide = finger.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, side, 0))
        slide.range, slide.armature = (0, fr3.FINGER_TRAVEL), 0.1
        finger.mass, finger.inertia, finger.ipos = fr3.FINGER_MASS, (1e-5, 1e-5, 2e-6), (0, side * 0.01, 0.027)
        finger.explicitinertial = True
        _box(finger, (0, side * 0.0075, 0.027), (0.0105, 0.0075, 0.027), DARK, FINGER_FRICTION * friction_scale)
        _actuator(spec, name, FINGER_STIFFNESS, FINGER_DAMPING, fr3.HAND_FORCE)
    couple = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1=fr3.FINGER_NAMES[0], name2=fr3.FINGER_NAMES[1])
    couple.data[:5] = 0, 1, 0, 0, 0


def _scene(spec, mass_scale, friction_scale):
    world = spec.worldbody
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = (0.35,) * 3, (0.45,) * 3
    world.add_light(pos=(0.9, -0.8, 2.0), dir=(-0.2, 0.35, -1), castshadow=True, diffuse=(0.5,) * 3)
    table = _box(world, (0.45, 0, -0.02), (0.6, 0.6, 0.02), WOOD)
    table.name, table.contype, table.conaffinity = "table", WORLD, ROBOT | WORLD
    cube = world.add_body(name="cube", pos=(0.5, 0.1, CUBE_M / 2))
    cube.add_freejoint(name="cube")
    box = _box(cube, (0, 0, 0), (CUBE_M / 2,) * 3, BLUE, CUBE_FRICTION * friction_scale)
    box.name, box.mass, box.contype, box.conaffinity = "cube", CUBE_KG * mass_scale, WORLD, ROBOT | WORLD
    # Looks back over the table at the robot: image x is base +y, the optical axis falls by a third of a right angle.
    axes = np.array([[0, -0.555, 0.832], [1, 0, 0], [0, 0.832, 0.555]])  # columns: image right, up, and backwards
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    world.add_camera(name="front", pos=(1.35, 0.05, 0.72), quat=quat, fovy=50)
    world.add_camera(name="spectator", pos=SPECTATOR_M, quat=_looking(SPECTATOR_M, (0.47, 0.08, 0.14)), fovy=42)
    sky = spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=64, height=384)
    sky.builtin, sky.rgb1, sky.rgb2 = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, (0.96, 0.97, 0.99), (0.8, 0.85, 0.92)


def add_ghost(scene, position_m):
    """Adds a translucent cube at [3] m to a scene that is about to be drawn; it takes no part in physics."""
    geom = scene.geoms[scene.ngeom]
    size, upright = np.full(3, CUBE_M / 2), np.eye(3).ravel()
    mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_BOX, size, np.asarray(position_m, float), upright, np.array(GHOST))
    scene.ngeom += 1


def _looking(position, target):
    """Quaternion wxyz of a camera at `position` that looks at `target`, both [3] m, with the image upright."""
    backwards = np.subtract(position, target) / np.linalg.norm(np.subtract(position, target))
    right = np.cross((0, 0, 1), backwards)
    right /= np.linalg.norm(right)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([right, np.cross(backwards, right), backwards]).ravel())
    return quat


def _inertial(body, inertial):
    kg, com, (xx, xy, xz, yy, yz, zz) = inertial
    body.explicitinertial = True
    body.mass, body.ipos, body.fullinertia = kg, com, (xx, yy, zz, xy, xz, yz)


def _capsules(body, link):
    """Adds the link's shape; only the wrist (links 5 to 7) can reach anything, so only it collides."""
    for start, end, radius in LINK_CAPSULES[link]:
        geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=(*start, *end), size=(radius, 0, 0), rgba=WHITE)
        geom.contype, geom.conaffinity = (ROBOT, WORLD) if link >= 5 else (0, 0)


def _box(body, pos, size, rgba, friction=0.3):
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, rgba=rgba)
    geom.contype, geom.conaffinity, geom.condim = ROBOT, WORLD, 4
    geom.friction = (friction, 0.02, 0.0001)
    geom.solref, geom.solimp = (0.006, 1), (0.95, 0.99, 0.001, 0.5, 2)
    return geom


def _actuator(spec, joint, stiffness, damping, force_max):
    """Force = stiffness * (ctrl - q) - damping * dq, bounded; ctrl = q_d + damping / stiffness * dq_d follows."""
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0], actuator.biasprm[:3] = stiffness, (0, -stiffness, -damping)
    actuator.forcelimited, actuator.forcerange = True, (-force_max, force_max)
