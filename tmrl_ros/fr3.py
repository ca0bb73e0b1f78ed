"""Published numbers of the Franka Research 3: the only place they are written.

Joint order is fr3_joint1..7; metres, radians, seconds, kilograms. Sources: franka_description, libfranka.
"""

import numpy as np

JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")
BASE_FRAME, TCP_FRAME = "fr3_link0", "fr3_hand_tcp"

# Denavit-Hartenberg after Craig: frame i = Rx(alpha) Tx(a) Rz(q) Tz(d) of frame i-1.
DH_A = np.array([0, 0, 0, 0.0825, -0.0825, 0, 0.088])
DH_D = np.array([0.333, 0, 0.316, 0, 0.384, 0, 0])
DH_ALPHA = np.array([0, -1, 1, 1, -1, 1, 1]) * np.pi / 2
FLANGE_D = 0.107  # link7 to link8, along z
HAND_YAW = -np.pi / 4  # link8 to hand, about z
HAND_TCP_D = 0.1034  # hand to TCP, along z
FINGER_D = 0.0584  # hand to finger, along z
FINGER_TRAVEL = 0.04  # each; full width is twice this
HAND_SPEED = 0.1  # of the full width, m/s
HAND_FORCE = 30.0  # of one finger, N; the hand holds 70 N continuously

Q_MIN = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
Q_MAX = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
DQ_MAX = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
DDQ_MAX = np.full(7, 10.0)
TORQUE_MAX = np.array([87.0, 87, 87, 87, 12, 12, 12])

# Near its end a joint may only move at -offset + sqrt(2 * deceleration * distance to the end).
SPEED_OFFSET = np.array([0.6599, 0.2517, 0.2000, 0.3533, 0.5757, 0.4878, 0.4628])
DECELERATION = np.array([6, 2.585, 3.5, 4, 17, 5.5, 17])

# The rectangular set: inside it these speeds hold everywhere, so it needs no look at the position.
RECTANGULAR_Q_MIN = np.array([-2.3476, -1.5454, -2.4937, -2.7714, -2.51, 0.7773, -2.7045])
RECTANGULAR_Q_MAX = np.array([2.3476, 1.5454, 2.4937, -0.4226, 2.51, 4.2841, 2.7045])
RECTANGULAR_DQ_MAX = np.array([2.0, 1, 1.5, 1.25, 3, 1.5, 3])

READY_Q = np.array([0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4])
R_DOWN = np.diag([1.0, -1.0, -1.0])  # TCP in base: gripper down, fingers open along y

# Where every episode starts: TCP at HOME_TCP, gripper down.
HOME_TCP = np.array([0.45, 0.0, 0.30])
HOME_Q = np.array([0, -0.2594317576227106, 0, -2.4314846598259234, 0, 2.1720529022032125, np.pi / 4])

# Inertials of link0..7: kg | centre of mass, link frame | xx xy xz yy yz zz about it.
LINK_INERTIALS = (
    (2.3966, (-0.0172, 0.0004, 0.0745), (0.0090, 0, 0.0020, 0.0115, 0, 0.0085)),
    (2.92747, (0, -0.018125, -0.038604), (0.023927, 1.33e-5, -1.14e-4, 0.022482, -1.995e-3, 0.006350)),
    (2.93554, (0.003183, -0.074322, 0.008815), (0.041939, 2.026e-4, 0.004078, 0.025145, -0.004225, 0.061702)),
    (2.24490, (0.040702, -0.004820, -0.028973), (0.024101, 0.002405, -0.002856, 0.019741, -0.002104, 0.019044)),
    (2.61560, (-0.045910, 0.063049, -0.008519), (0.034530, 0.013226, 0.010151, 0.028882, -9.763e-4, 0.041255)),
    (2.32712, (-0.001604, 0.029254, -0.097297), (0.051610, -0.005715, -0.003567, 0.047877, 0.010674, 0.016424)),
    (1.81704, (0.059713, -0.041029, -0.010169), (0.005412, 0.006193, 0.001422, 0.014058, -0.001314, 0.016081)),
    (0.627143, (0.004523, 0.008626, -0.016163), (2.109e-4, -2.43e-5, 4.56e-5, 1.772e-4, 8.74e-5, 5.99e-5)),
)
HAND_INERTIAL = (0.6544, (0, 0.011913, 0.020726), (0.00186, 0, 0, 0.0003, -2e-5, 0.00174))
FINGER_MASS = 0.0291
