"""What bounds a motion: pure functions of the commanded state. Base frame, m, rad, s; dt is one tick of the stream."""

import numpy as np

from tmrl_ros import fr3
from tmrl_ros.config import SafetyLimits

BRAKE_S = 0.08  # from any permitted speed to standstill, in whole ticks
WORKSPACE_MARGIN_M = 0.001  # a braking arm moves on a line in joint space, which bows by less than this
CONDITION_SLOW, CONDITION_STOP = 17.0, 30.0  # of the Jacobian: speed falls to zero between the two
END_PER_S = 6.0  # a joint moves towards its end no faster than this times the distance left
EPS = 1e-9


def brake_ticks(share_per_tick: float) -> int:
    """Ticks of even deceleration from a speed; the argument is that speed / (acceleration limit * dt)."""
    return int(np.ceil(share_per_tick - EPS))


def row_displacement(action, limits: SafetyLimits, dt_s: float) -> np.ndarray:
    """TCP motion [3] of one action row [action_dim >= 3]: clipped to [-1, 1] steps per axis, and to the speed limit."""
    step_m = np.clip(np.asarray(action[:3], float), -1, 1) * limits.step_m
    length_m = np.sqrt(step_m @ step_m)
    return step_m * min(1.0, limits.tcp_speed_m_s * dt_s / max(length_m, EPS))


def clamp_goal(goal_m, tcp_m, low_m, high_m, lead_m: float) -> np.ndarray:
    """The goal [3] inside the box, and no further than lead_m ahead of the commanded TCP on any axis."""
    return np.clip(np.clip(goal_m, tcp_m - lead_m, tcp_m + lead_m), low_m, high_m)


def approach_speed(distance: float, speed_along: float, acceleration: float, dt: float) -> float:
    """The largest speed after this tick from which even braking still ends within `distance`.

    With v now along the line, w after the tick and n = ceil(w / (acceleration dt)) ticks of braking:
    (v + w) dt / 2 + n w dt / 2 <= distance. With the least n that room needs that is room / (n + 1), or, where it is
    more, the speed from which one tick less of braking is enough.
    """
    room = max(0.0, 2 * distance / dt - speed_along)
    ticks = np.ceil((np.sqrt(1 + 4 * room / (acceleration * dt)) - 1) / 2 - EPS)
    return max(room / (ticks + 1), (ticks - 1) * acceleration * dt)


def joint_speed_bounds(q, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest joint speed [7] rad/s: a share of the rectangular table, and FR3's bound near a joint's end.

    dq_max(q) = min(dq, max(0, -offset + sqrt(2 * deceleration * (q_max - q)))), mirrored for the least.
    """
    cap = share * fr3.RECTANGULAR_DQ_MAX
    double = 2 * fr3.DECELERATION
    up = np.sqrt(np.maximum(double * (fr3.Q_MAX - q), 0)) - fr3.SPEED_OFFSET
    down = np.sqrt(np.maximum(double * (q - fr3.Q_MIN), 0)) - fr3.SPEED_OFFSET
    return -np.minimum(cap, np.maximum(down, 0)), np.minimum(cap, np.maximum(up, 0))


def share_within(start, step, low, high) -> float:
    """The largest share in [0, 1] of `step` that keeps start + share * step in [low, high]; start is in it."""
    room = np.where(step > 0, high - start, low - start)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(np.abs(step) > EPS, room / step, 1.0)
    return float(min(1.0, max(0.0, shares.min())))


def share_in_ball(start, step, radius: float) -> float:
    """The largest share in [0, 1] of `step` [3] that keeps |start + share * step| <= radius, or <= |start|."""
    square, half, rest = step @ step, start @ step, min(0.0, start @ start - radius**2)
    if square < EPS**2:
        return 1.0
    return max(0.0, min(1.0, (np.sqrt(half**2 - square * rest) - half) / square))


def slide_along_ends(velocity, joints_per_m, q) -> np.ndarray:
    """The TCP velocity [3] less what would press a joint of q [7] against its end: the TCP slides past it instead.

    joints_per_m [7, 3] maps TCP to joint velocity. Row i is the normal of the surface on which joint i rests.
    """
    low, high = END_PER_S * (fr3.RECTANGULAR_Q_MIN - q), END_PER_S * (fr3.RECTANGULAR_Q_MAX - q)
    for _ in range(2):  # two joints at their ends at most
        speed = joints_per_m @ velocity
        excess = speed - np.minimum(np.maximum(speed, low), high)
        worst = np.abs(excess).argmax()
        if not excess[worst]:
            break
        normal = joints_per_m[worst]
        velocity = velocity - normal * (excess[worst] / (normal @ normal))
    return velocity


def singularity_share(condition: float) -> float:
    """Share of the speed that is left near a singularity."""
    return min(1.0, max(0.0, (CONDITION_STOP - condition) / (CONDITION_STOP - CONDITION_SLOW)))
