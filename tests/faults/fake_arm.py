"""A fake FR3: follows CommandWindows at 1 kHz as joint_trajectory_controller would, and measures every limit there is.

Joint position and speed are the window's own cubics; acceleration and jerk are their differences over 1 ms. Motion is
judged against the datasheet (owner "FR3", whose violation is a reflex) and, where given, against SafetyLimits ("ours").
Where joint acceleration steps, the whole step counts as jerk within 1 ms.

Accelerations and jerks are what the FR3 judges when positions are streamed to it. Through the effort interface it sees
torques instead, so ON_TORQUE names the reflexes that are left there.
"""

from collections import Counter

import numpy as np

from tmrl_ros import fr3
from tmrl_ros.config import SafetyLimits
from tmrl_ros.robot import trajectory
from tmrl_ros.supervisor.limits import joint_speed_bounds
from tmrl_ros.types import CommandWindow, RobotState

MS = 1e-3
DROPOUT_MS = 20  # milliseconds in a row without a command after which the FR3 stops
TOLERANCE = 1e-6  # relative, for rounding
JOINT_JERK = 5000.0  # rad/s^3
SPATIAL = ("tcp speed", "turn speed", "tcp acceleration", "turn acceleration", "tcp jerk", "turn jerk")
SPATIAL_LIMITS = np.array([3.0, 2.5, 9.0, 17.0, 4500.0, 8500.0])  # m or rad, and s
REFLEXES = {
    "joint position": "joint_position_limits_violation",
    "joint speed": "joint_velocity_violation",
    "joint acceleration": "joint_motion_generator_velocity_discontinuity",
    "joint jerk": "joint_motion_generator_acceleration_discontinuity",
    "tcp speed": "cartesian_motion_generator_velocity_limits_violation",
    "tcp acceleration": "cartesian_motion_generator_velocity_discontinuity",
    "tcp jerk": "cartesian_motion_generator_acceleration_discontinuity",
    "turn speed": "cartesian_motion_generator_velocity_limits_violation",
    "turn acceleration": "cartesian_motion_generator_velocity_discontinuity",
    "turn jerk": "cartesian_motion_generator_acceleration_discontinuity",
}
DROPOUT = "communication_constraints_violation"
ON_TORQUE = {REFLEXES["joint position"], REFLEXES["joint speed"], DROPOUT}


class FakeArm:
    """`excess[quantity, owner]` is the worst of measured / limit - 1 so far; `reflexes` counts each kind by name.

    After a reflex an arm that latches stands still from the end of that `run` on, until `recover`; one that does not
    latch goes on, to be measured further.
    """

    def __init__(self, limits: SafetyLimits | None = None, q=fr3.HOME_Q, stamp_ns=1_000_000_000, latches=True):
        self.limits, self.latches, self.stamp_ns = limits, latches, stamp_ns
        self.excess: dict[tuple[str, str], float] = {}
        self.workspace_mm, self.reflexes, self.lost_ms, self.reflex = 0.0, Counter(), 0, ""
        self._stand(np.array(q, float))

    def _stand(self, q) -> None:
        self.q, self.dq, self._ddq = q, np.zeros(7), np.zeros(7)
        self.tcp_m = tcp_motion(q[None], self.dq[None])[0][0]
        self._twist, self._twist_rate = np.zeros((2, 3)), np.zeros((2, 3))
        self._window = trajectory.hold(self.stamp_ns, q)

    def send(self, window: CommandWindow) -> None:
        """The window replaces the last one at once."""
        self._window = window

    def recover(self) -> None:
        """A person clears the reflex: the arm stands where it is."""
        self.reflex, self.lost_ms = "", 0
        self._stand(self.q)

    def state(self, width_m=0.08, force_n=(0.0, 0.0, 0.0)) -> RobotState:
        return RobotState(self.stamp_ns, self.q.copy(), self.dq.copy(), width_m, np.array(force_n, float))

    @property
    def standing(self) -> bool:
        return not self.dq.any()

    def run(self, milliseconds: int, link=True) -> np.ndarray:
        """So many milliseconds go by; without `link` no command reaches the arm. Returns the TCP path [n, 3]."""
        times_s = MS * np.arange(1, milliseconds + 1)
        age_s = (self.stamp_ns - self._window.stamp_ns) * 1e-9
        self.stamp_ns += milliseconds * 1_000_000
        if self.reflex or not milliseconds:
            return np.repeat(self.tcp_m[None], milliseconds, 0)
        if link:
            self.lost_ms = 0
            tcp_m = self._move(*trajectory.evaluate(self._window, np.round(age_s + times_s, 9)))
        else:
            self.lost_ms += milliseconds
            tcp_m = self._move(*self._coast(times_s))
            if self.lost_ms >= DROPOUT_MS:
                self._trip(DROPOUT)
        if self.reflex:
            self._stand(self.q)
        return tcp_m

    def _coast(self, times_s):
        """Without commands the arm goes on with its last acceleration."""
        t = times_s[:, None]
        return self.q + t * self.dq + t**2 / 2 * self._ddq, self.dq + t * self._ddq

    def _move(self, q, dq) -> np.ndarray:
        before_q, before_dq = np.vstack([self.q, q[:-1]]), np.vstack([self.dq, dq[:-1]])
        ddq = (dq - before_dq) / MS
        # The same from the positions; a step between two windows shows only here.
        leap = ((q - before_q) / MS - before_dq) * (2 / MS)
        tcp_m, twist = tcp_motion(q, dq)
        rate = np.diff(twist, axis=0, prepend=self._twist[None]) / MS
        jerk = np.diff(rate, axis=0, prepend=self._twist_rate[None]) / MS
        lengths = np.sqrt(np.square([twist, rate, jerk]).sum(3)).max(1).ravel()
        measured = dict(zip(SPATIAL, lengths, strict=True))
        measured["joint acceleration"] = np.maximum(np.abs(ddq), np.abs(leap)).max(0)
        measured["joint jerk"] = np.abs(np.diff(ddq, axis=0, prepend=self._ddq[None])).max(0) / MS
        self.q, self.dq, self._ddq, self.tcp_m = q[-1], dq[-1], ddq[-1], tcp_m[-1]
        self._twist, self._twist_rate = twist[-1], rate[-1]
        self._judge(q, dq, tcp_m, measured)
        return tcp_m

    def _judge(self, q, dq, tcp_m, measured) -> None:
        worst = {
            ("joint position", "FR3"): _beyond(q, fr3.Q_MIN, fr3.Q_MAX, (fr3.Q_MAX - fr3.Q_MIN) / 2),
            ("joint speed", "FR3"): _beyond(dq, *datasheet_speed(q), fr3.DQ_MAX),
            ("joint acceleration", "FR3"): (measured["joint acceleration"] / fr3.DDQ_MAX).max() - 1,
            ("joint jerk", "FR3"): measured["joint jerk"].max() / JOINT_JERK - 1,
        }
        for quantity, limit in zip(SPATIAL, SPATIAL_LIMITS, strict=True):
            worst[quantity, "FR3"] = measured[quantity] / limit - 1
        for (quantity, _), excess in worst.items():
            if not excess <= TOLERANCE:  # NaN is a violation too
                self._trip(REFLEXES[quantity])
        if self.limits:
            worst |= self._ours(q, dq, measured)
            low, high = np.array(self.limits.workspace_min_m), np.array(self.limits.workspace_max_m)
            self.workspace_mm = max(self.workspace_mm, 1e3 * float(np.maximum(low - tcp_m, tcp_m - high).max()))
        for key, excess in worst.items():
            self.excess[key] = max(self.excess.get(key, -1.0), float(excess) if excess == excess else np.inf)

    def _ours(self, q, dq, measured) -> dict:
        limits, share = self.limits, self.limits.joint_speed_share
        acceleration = max(limits.joint_acceleration_share, limits.joint_deceleration_share) * fr3.DDQ_MAX
        tcp_acceleration = max(limits.tcp_acceleration_m_s2, limits.tcp_deceleration_m_s2)
        low, high = fr3.RECTANGULAR_Q_MIN, fr3.RECTANGULAR_Q_MAX
        return {
            ("joint position", "ours"): _beyond(q, low, high, (high - low) / 2),
            ("joint speed", "ours"): _beyond(dq, *joint_speed_bounds(q, share), share * fr3.RECTANGULAR_DQ_MAX),
            ("joint acceleration", "ours"): (measured["joint acceleration"] / acceleration).max() - 1,
            ("tcp speed", "ours"): measured["tcp speed"] / limits.tcp_speed_m_s - 1,
            ("tcp acceleration", "ours"): measured["tcp acceleration"] / tcp_acceleration - 1,
        }

    def _trip(self, name: str) -> None:
        self.reflexes[name] += 1
        if self.latches and not self.reflex:
            self.reflex = name


def _beyond(values, low, high, scale) -> float:
    """By how much values leave [low, high], relative to scale; negative inside."""
    return float((np.maximum(values - high, low - values) / scale).max())


def datasheet_speed(q):
    """Least and greatest joint speed of the FR3 at q [n, 7]: -offset + sqrt(2 deceleration distance), capped."""
    up = np.sqrt(np.maximum(2 * fr3.DECELERATION * (fr3.Q_MAX - q), 0)) - fr3.SPEED_OFFSET
    down = np.sqrt(np.maximum(2 * fr3.DECELERATION * (q - fr3.Q_MIN), 0)) - fr3.SPEED_OFFSET
    return -np.clip(down, 0, fr3.DQ_MAX), np.clip(up, 0, fr3.DQ_MAX)


def tcp_motion(q, dq):
    """TCP position [n, 3], and its linear and angular velocity [n, 2, 3], in the base frame, from q and dq [n, 7]."""
    (x, y, z), origin = np.eye(3)[:, :, None], np.zeros((3, 1))  # axes and origin of the link before, [3, n]
    sines, cosines, axes, origins = np.sin(q.T), np.cos(q.T), np.empty((3, 7, len(q))), np.empty((3, 7, len(q)))
    for i, (sine, cosine) in enumerate(zip(sines, cosines, strict=True)):
        twist = round(np.sin(fr3.DH_ALPHA[i]))  # the axes before are turned by this many right angles about x
        side, z = ((y, z), (z, -y), (-z, y))[twist]
        origin = origin + fr3.DH_A[i] * x + fr3.DH_D[i] * z
        x, y = x * cosine + side * sine, side * cosine - x * sine
        axes[:, i], origins[:, i] = z, origin
    tcp = origin + z * (fr3.FLANGE_D + fr3.HAND_TCP_D)
    spin, arm = axes * dq.T, tcp[:, None] - origins
    velocity = spin[[1, 2, 0]] * arm[[2, 0, 1]] - spin[[2, 0, 1]] * arm[[1, 2, 0]]
    return tcp.T, np.array([velocity.sum(1), spin.sum(1)]).transpose(2, 0, 1)
