"""A CommandWindow as a curve, evaluated as joint_trajectory_controller does with positions and speeds."""

import numpy as np

from tmrl_ros.errors import ActionError
from tmrl_ros.types import CommandWindow

ANOTHER_CLOCK_S = 1.0  # a window whose stamp is further from the arm's own clock is not run


def evaluate(window: CommandWindow, times_s):
    """Joint positions and speeds at times_s [m] after the window's stamp: (float64 [m, 7], float64 [m, 7]).

    Cubic Hermite between points; the first point holds before it, the last one for ever after.
    """
    knots = window.times_s
    if len(knots) == 1:
        return np.repeat(window.q, len(times_s), 0), np.zeros((len(times_s), 7))
    t = np.clip(times_s, knots[0], knots[-1])
    i = np.clip(np.searchsorted(knots, t, side="right") - 1, 0, len(knots) - 2)
    h = (knots[i + 1] - knots[i])[:, None]
    s = (t - knots[i])[:, None] / h
    rise, v0, v1 = window.q[i + 1] - window.q[i], h * window.dq[i], h * window.dq[i + 1]
    b, c = 3 * rise - 2 * v0 - v1, v0 + v1 - 2 * rise
    q = window.q[i] + s * (v0 + s * (b + s * c))
    dq = (v0 + s * (2 * b + 3 * s * c)) / h
    q[times_s >= knots[-1]] = window.q[-1]
    dq[(times_s < knots[0]) | (times_s > knots[-1])] = 0
    return q, dq


def check_clock(window: CommandWindow, now_ns: int) -> None:
    """Raises ActionError for a window that another clock stamped: kept, it would outlast what is stamped right."""
    ahead_s = (window.stamp_ns - now_ns) * 1e-9
    if abs(ahead_s) > ANOTHER_CLOCK_S:
        raise ActionError(f"a window is stamped {ahead_s:.2f} s from now and does not run; synchronise the clocks")


def hold(stamp_ns: int, q, close_gripper=False) -> CommandWindow:
    """A window that stands still at q [7]."""
    q = np.array(q, float)[None]
    return CommandWindow(stamp_ns, np.zeros(1), q, np.zeros_like(q), close_gripper)
