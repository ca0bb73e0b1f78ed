"""Forward kinematics of the FR3's TCP, its geometric Jacobian, and the difference of two orientations."""

import numpy as np

from tmrl_ros import fr3


def _local_parts():
    """Frame i in frame i-1 is fixed + cos(q_i) * cosine + sin(q_i) * sine; each float64 [7, 4, 4]."""
    fixed, cosine, sine = np.zeros((3, 7, 4, 4))
    ca, sa = np.round(np.cos(fr3.DH_ALPHA)), np.round(np.sin(fr3.DH_ALPHA))
    fixed[:, 0, 3], fixed[:, 1, 3], fixed[:, 2, 3] = fr3.DH_A, -fr3.DH_D * sa, fr3.DH_D * ca
    fixed[:, 1, 2], fixed[:, 2, 2], fixed[:, 3, 3] = -sa, ca, 1
    cosine[:, 0, 0], cosine[:, 1, 1], cosine[:, 2, 1] = 1, ca, sa
    sine[:, 0, 1], sine[:, 1, 0], sine[:, 2, 0] = -1, ca, sa
    return fixed, cosine, sine


def _tool():
    """TCP in link7, float64 [4, 4]."""
    c, s = np.cos(fr3.HAND_YAW), np.sin(fr3.HAND_YAW)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, fr3.FLANGE_D + fr3.HAND_TCP_D], [0, 0, 0, 1]])


_FIXED, _COS, _SIN = _local_parts()
_TOOL = _tool()


def link_frames(q):
    """Frames of link1..7 and the TCP in the base frame, float64 [8, 4, 4]; q float64 [7]."""
    q = np.asarray(q, float)[:, None, None]
    local = _FIXED + np.cos(q) * _COS + np.sin(q) * _SIN
    frames = np.empty((8, 4, 4))
    frames[0] = local[0]
    for i in range(1, 7):
        np.dot(frames[i - 1], local[i], frames[i])
    np.dot(frames[6], _TOOL, frames[7])
    return frames


def forward(q):
    """Position [3] and rotation [3, 3] of the TCP in the base frame."""
    tcp = link_frames(q)[7]
    return tcp[:3, 3], tcp[:3, :3]


def jacobian(q):
    """Geometric Jacobian of the TCP, float64 [6, 7]: base-frame linear (m/s), then angular velocity (rad/s) of dq."""
    frames = link_frames(q)
    z, arm = frames[:7, :3, 2], frames[7, :3, 3] - frames[:7, :3, 3]
    rows = np.empty((6, 7))
    rows[0] = z[:, 1] * arm[:, 2] - z[:, 2] * arm[:, 1]
    rows[1] = z[:, 2] * arm[:, 0] - z[:, 0] * arm[:, 2]
    rows[2] = z[:, 0] * arm[:, 1] - z[:, 1] * arm[:, 0]
    rows[3:] = z.T
    return rows


def rotation_error(rotation_target, rotation):
    """Base-frame rotation vector [3] (rad) that turns `rotation` to the target; exact below half a turn."""
    relative = rotation_target @ rotation.T
    skew = 0.5 * (relative - relative.T)
    vee = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    sine, cosine = np.sqrt(vee @ vee), 0.5 * (np.trace(relative) - 1)
    return vee if sine < 1e-9 else vee * (np.arctan2(sine, cosine) / sine)
