"""From a goal to a bounded CommandWindow: speed, acceleration and jerk limited, inverse kinematics included.

What is planned is a reference (q, dq) on knots one tick apart, between which joint acceleration is constant. Each tick
plans one knot towards the goal and then a stop along a straight line in joint space:

    dq_next = brake + share * (wish - brake),   q_next = q + (dq + dq_next) dt / 2

where `brake` goes on with the stop of the last window, which keeps every limit, and `share` is the largest in [0, 1]
that does too: a limit slows the arm, never jumps, and there is always a safe answer. Two windows agree on final knots.

What is commanded is the reference's moving average over one tick: cubic between knots, with continuous acceleration.
An average stays within every bound on position, speed and acceleration that it is taken of, and its jerk is at most the
reference's change of acceleration at a knot over a tick. It costs half a tick of delay.
"""

import numpy as np

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits
from tmrl_ros.supervisor import limits as bound
from tmrl_ros.types import CommandWindow

# What planning keeps back because the Jacobian is taken at a predicted posture and turns within a tick.
SPEED_SHARE, ACCELERATION_SHARE = 0.97, 0.85
DAMPING = 0.02  # of the inverse kinematics
UPRIGHT_PER_S, POSTURE_PER_S = 4.0, 1.0  # how fast orientation and elbow return to gripper-down and home
TURN_RAD_S, POSTURE_RAD_S = 0.8, 0.2  # their caps
LEAD_M = 0.05  # how far a goal may run ahead of the planned TCP, per axis


class Motion:
    """The moving reference of one arm. `committed` ticks of each window are final (1 in lockstep, 2 hides latency)."""

    def __init__(self, limits: SafetyLimits, command_hz: int, committed: int = 1):
        self.dt = 1.0 / command_hz
        self.limits, self.committed = limits, committed
        self.brake = int(np.ceil(bound.BRAKE_S / self.dt - bound.EPS))  # ticks
        self.times_s = np.arange(committed + self.brake + 2) * self.dt
        self._ladder = np.arange(1, self.brake + 1)[:, None]
        self.low_m = np.array(limits.workspace_min_m) + bound.WORKSPACE_MARGIN_M
        self.high_m = np.array(limits.workspace_max_m) - bound.WORKSPACE_MARGIN_M
        self._acceleration = ACCELERATION_SHARE * limits.tcp_acceleration_m_s2
        self._deceleration = ACCELERATION_SHARE * limits.tcp_deceleration_m_s2
        self._speed = min(SPEED_SHARE * limits.tcp_speed_m_s, self.brake * self.dt * self._deceleration)
        self._joint_acceleration = limits.joint_acceleration_share * fr3.DDQ_MAX[0]
        self._joint_deceleration = limits.joint_deceleration_share * fr3.DDQ_MAX[0]
        self._joint_speed = self.brake * self.dt * self._joint_deceleration
        self.anchor(fr3.HOME_Q)

    def anchor(self, q) -> None:
        """Stand at q [7], whatever was commanded before."""
        self._q = np.repeat(np.asarray(q, float)[None], len(self.times_s), 0)  # the reference, from a tick ago on
        self._dq = np.zeros_like(self._q)
        self._brake_left = self._brake_left_next = 0  # ticks of the stop from the last final knot, and from the next
        self.stop()

    def advance(self, ticks: int) -> None:
        """Time went on: the arm is that many knots further on the last window, or at its end."""
        index = np.minimum(np.arange(len(self.times_s)) + ticks, len(self.times_s) - 1)
        self._q, self._dq = self._q[index], self._dq[index]
        if ticks:
            self._brake_left = max(0, self._brake_left_next - ticks + 1)

    @property
    def q(self) -> np.ndarray:
        """The commanded joints at this tick."""
        return _mean(self._q[0], self._dq[0], self._dq[1], self.dt)

    @property
    def tcp_m(self) -> np.ndarray:
        """The TCP from which the next knot is planned."""
        return kinematics.forward(self._q[self.committed])[0]

    @property
    def standing(self) -> bool:
        return not self._dq.any()

    def stop(self) -> None:
        """Brake, and stand where that ends; what comes next starts from there."""
        self.goal_m, self._joints, self._ticks_left = None, None, 0

    def aim(self, displacement_m, ticks: int = 1) -> np.ndarray:
        """Move the goal by [3] m, evenly over so many ticks; returns by how much it moves within the bounds."""
        tcp_m = self.tcp_m
        before = tcp_m if self.goal_m is None else self.goal_m
        self.goal_m = bound.clamp_goal(before + displacement_m, tcp_m, self.low_m, self.high_m, LEAD_M)
        self._joints, self._step_m, self._ticks_left = None, (self.goal_m - before) / ticks, ticks
        return self.goal_m - before

    def aim_at(self, goal_m) -> None:
        """Go to a TCP position [3], clamped to the workspace, in a straight line."""
        self.goal_m, self._joints, self._ticks_left = np.clip(goal_m, self.low_m, self.high_m), None, 0

    def aim_joints(self, q) -> None:
        """Go to joints q [7] in a straight line of joint space."""
        self.goal_m, self._joints = None, np.asarray(q, float)

    def plan(self, stamp_ns: int, close_gripper: bool) -> CommandWindow:
        """The window of the tick `stamp_ns`: plans one more knot, then the stop after it."""
        last = self.committed
        q, dq = self._q[last], self._dq[last]
        if not self.standing or self.goal_m is not None or self._joints is not None:
            next_dq, ticks = self._next(q, dq, kinematics.jacobian(q + dq * self.dt))
            next_q = q + (dq + next_dq) * (self.dt / 2)
            left = np.maximum(1 - self._ladder / max(ticks, 1), 0)
            self._q[last + 1], self._dq[last + 1] = next_q, next_dq
            self._dq[last + 2 :] = left * next_dq
            self._q[last + 2 :] = next_q + (1 - left**2) * (ticks * self.dt / 2) * next_dq
            self._brake_left_next = ticks
        commanded_q, commanded_dq = self._commanded()
        # Of an even stop the knots where its acceleration begins and ends to change say as much as all.
        stop = self.committed + self._brake_left_next
        points = sorted({*range(self.committed + 2), stop, stop + 1, len(self.times_s) - 1})
        return CommandWindow(stamp_ns, self.times_s[points], commanded_q[points], commanded_dq[points], close_gripper)

    def _commanded(self) -> tuple[np.ndarray, np.ndarray]:
        """Joint positions and speeds [n, 7] at `times_s`: the averages of the reference over the tick before each."""
        q, dq = self._q, self._dq
        mean_q = _mean(q[:-1], dq[:-1], dq[1:], self.dt)
        return np.vstack([mean_q, q[-1]]), np.vstack([(dq[:-1] + dq[1:]) / 2, dq[-1]])

    def _next(self, q, dq, jac):
        """Joint speeds [7] at the next knot and the ticks of braking from there."""
        left = max(self._brake_left - 1, 0)
        brake = dq * (left / max(self._brake_left, 1))
        if self.goal_m is None and self._joints is None:
            return brake, left
        tcp_m, rotation = kinematics.forward(q + dq * self.dt)
        low, high = bound.joint_speed_bounds(q, self.limits.joint_speed_share)
        low, high = np.maximum(low, -self._joint_speed), np.minimum(high, self._joint_speed)
        if self._joints is not None:
            wish = self._joint_wish(q, dq, jac, high)
        else:
            wish = self._tcp_wish(q, dq, jac, tcp_m - jac[:3] @ dq * self.dt, rotation, high)
        share = self._share(dq, jac, brake, wish - brake, low, high)
        for trial in (share, share / 2, share / 8):
            next_dq = brake + trial * (wish - brake)
            ticks = self._brake_ticks(jac, next_dq)
            if self._admissible(q + (dq + (1 + ticks) * next_dq) * (self.dt / 2)):
                return next_dq, ticks
        return brake, left

    def _brake_ticks(self, jac, dq) -> int:
        v = jac[:3] @ dq
        joint = np.abs(dq).max() / self._joint_deceleration
        return min(self.brake, bound.brake_ticks(max(joint, np.sqrt(v @ v) / self._deceleration) / self.dt))

    def _admissible(self, end_q) -> bool:
        """Whether the arm may stop at end_q: joints and TCP within bounds, or no further out than the last window."""
        stop_q = self._q[-1]
        if not _no_worse(end_q, stop_q, fr3.RECTANGULAR_Q_MIN, fr3.RECTANGULAR_Q_MAX):
            return False
        end_m = kinematics.forward(end_q)[0]
        if (end_m >= self.low_m).all() and (end_m <= self.high_m).all():
            return True
        return _no_worse(end_m, kinematics.forward(stop_q)[0], self.low_m, self.high_m)

    def _share(self, dq, jac, brake, change, low, high) -> float:
        reach = self._joint_acceleration * self.dt
        v, change_v = jac[:3] @ brake, jac[:3] @ change
        return min(
            bound.share_within(
                brake,
                change,
                np.minimum(brake, np.maximum(low, dq - reach)),
                np.maximum(brake, np.minimum(high, dq + reach)),
            ),
            bound.share_in_ball(v, change_v, self._speed),
            bound.share_in_ball(v - jac[:3] @ dq, change_v, self._acceleration * self.dt),
        )

    def _profile(self, per_unit, jac, distance: float, along: float, high) -> float:
        """Speed for a distance to go, in its unit a second; per_unit [7] is the joint motion of one unit."""
        largest, tcp = np.abs(per_unit).max(), np.sqrt(np.sum((jac[:3] @ per_unit) ** 2))
        acceleration = min(self._joint_acceleration / largest, self._acceleration / max(tcp, bound.EPS))
        cap = min((high / np.maximum(np.abs(per_unit), bound.EPS)).min(), self._speed / max(tcp, bound.EPS))
        return min(cap, bound.approach_speed(distance, along, acceleration, self.dt))

    def _joint_wish(self, q, dq, jac, high):
        way = self._joints - q
        distance = np.sqrt(way @ way)
        if distance < 1e-6:
            return np.zeros(7)
        unit = way / distance
        return unit * self._profile(unit, jac, distance, dq @ unit, high)

    def _tcp_wish(self, q, dq, jac, tcp_m, rotation, high):
        """Joint speeds that move the TCP to the goal, gripper down, elbow as at home."""
        self._ticks_left = max(0, self._ticks_left - 1)
        target = self.goal_m - self._ticks_left * self._step_m if self._ticks_left else self.goal_m
        way = target - tcp_m
        values, vectors = np.linalg.eigh(jac @ jac.T)
        inverse = jac.T @ (vectors / (values + DAMPING**2)) @ vectors.T
        pull = _capped(POSTURE_PER_S * (fr3.HOME_Q - q), POSTURE_RAD_S)
        turn = _capped(UPRIGHT_PER_S * kinematics.rotation_error(fr3.R_DOWN, rotation), TURN_RAD_S)
        wish = pull + inverse[:, 3:] @ turn - inverse @ (jac @ pull)
        distance = np.sqrt(way @ way)
        if distance < 1e-6:
            return wish
        unit = way / distance
        per_m = inverse[:, :3] @ unit
        speed = self._profile(per_m, jac, distance, (jac[:3] @ dq) @ unit, high)
        if unit @ (fr3.HOME_TCP - tcp_m) < 0:  # away from the middle, where the singularities are
            speed *= bound.singularity_share(np.sqrt(values[-1] / max(values[0], bound.EPS)))
        return wish + inverse[:, :3] @ bound.slide_along_ends(speed * unit, inverse[:, :3], q)


def _mean(q, dq, next_dq, dt: float):
    """Of positions over a tick that begins at q with speed dq, which changes evenly to next_dq."""
    return q + (2 * dq + next_dq) * (dt / 6)


def _capped(vector, length: float):
    return vector * min(1.0, length / max(np.sqrt(vector @ vector), bound.EPS))


def _no_worse(end, stop, low, high) -> bool:
    """Whether `end` lies in [low, high], or at least not further out than braking at once would."""
    return bool((end <= np.maximum(high, stop) + bound.EPS).all() and (end >= np.minimum(low, stop) - bound.EPS).all())
