"""Nothing that is asked of the arm makes its command leave the workspace or exceed a limit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import chunk_for, session

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits
from tmrl_ros.supervisor.limits import row_displacement
from tmrl_ros.supervisor.motion import Motion

LIMITS = SafetyLimits()
ROW = st.lists(st.floats(-1e3, 1e3) | st.sampled_from([-1.0, 0.0, 1.0]), min_size=3, max_size=3)
EXCESS = 1 + 1e-6


def drive(rows, command_hz=20, limits=LIMITS):
    """Windows of a motion that follows rows [n, 3], then stops."""
    motion, windows = Motion(limits, command_hz, 1 if command_hz == 20 else 2), []
    ticks = command_hz // 10
    for row in [*rows, None]:
        motion.stop() if row is None else motion.aim(row_displacement(row, limits, 0.1), ticks)
        for _ in range(ticks if row is not None else command_hz // 2):
            windows.append(motion.plan(len(windows) * round(1e9 / command_hz), False))
            motion.advance(1)
    return windows


def assert_within_limits(windows, command_hz=20, limits=LIMITS):
    dt = 1 / command_hz
    tcp_limit = max(limits.tcp_acceleration_m_s2, limits.tcp_deceleration_m_s2)
    joint_limit = 10 * max(limits.joint_acceleration_share, limits.joint_deceleration_share)
    q, dq = np.array([w.q[0] for w in windows]), np.array([w.dq[0] for w in windows])
    tcp = np.array([kinematics.forward(x)[0] for x in q])
    v = np.array([kinematics.jacobian(x)[:3] @ y for x, y in zip(q, dq, strict=True)])
    every_q, every_dq = np.concatenate([w.q for w in windows]), np.concatenate([w.dq for w in windows])
    assert np.isfinite(every_q).all() and np.isfinite(every_dq).all()
    assert np.linalg.norm(v, axis=1).max() <= limits.tcp_speed_m_s * EXCESS
    assert np.linalg.norm(np.diff(tcp, axis=0), axis=1).max() <= limits.tcp_speed_m_s * dt * EXCESS
    assert np.linalg.norm(np.diff(v, axis=0), axis=1).max() <= tcp_limit * dt * EXCESS
    assert np.abs(np.diff(dq, axis=0)).max() <= joint_limit * dt * EXCESS
    assert (np.abs(every_dq) <= limits.joint_speed_share * fr3.RECTANGULAR_DQ_MAX * EXCESS).all()
    assert (every_q >= fr3.RECTANGULAR_Q_MIN - 1e-4).all() and (every_q <= fr3.RECTANGULAR_Q_MAX + 1e-4).all()
    ends = np.array([kinematics.forward(w.q[-1])[0] for w in windows])
    for points in (tcp, ends):
        assert (points >= np.array(limits.workspace_min_m) - 1e-4).all()
        assert (points <= np.array(limits.workspace_max_m) + 1e-4).all()


@settings(max_examples=25)
@given(rows=st.lists(ROW, min_size=5, max_size=40), repeat=st.integers(1, 12))
def test_any_rows_stay_within_limits_at_20_hz(rows, repeat):
    assert_within_limits(drive(np.repeat(rows, repeat, 0)[:120]))


@settings(max_examples=8)
@given(rows=st.lists(ROW, min_size=5, max_size=20), repeat=st.integers(1, 12))
def test_any_rows_stay_within_limits_at_50_hz_with_cautious_limits(rows, repeat):
    limits = SafetyLimits(joint_speed_share=0.5, joint_acceleration_share=0.25, tcp_acceleration_m_s2=1.0)
    assert_within_limits(drive(np.repeat(rows, repeat, 0)[:80], 50, limits), 50, limits)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.3, 1.0, 10.0, 1e30]))
def test_fuzzed_chunks_through_the_core_stay_within_limits(seed, scale):
    rng = np.random.default_rng(seed)

    def policy(request):
        rows = np.repeat(rng.normal(0, scale, (4, 4)), 4, 0) if seed % 2 else rng.normal(0, scale, (16, 4))
        return chunk_for(request, rows.astype(np.float32))

    run = session(policy, episodes=1, auto_resume_s=1.0).run(12)
    assert_within_limits(run.windows)


@pytest.mark.parametrize(("command_hz", "ends_s"), [(20, 0.2), (50, 0.14)])
def test_every_window_ends_standing_so_soon(command_hz, ends_s):
    for window in drive(np.random.default_rng(0).normal(0, 1, (60, 3)), command_hz):
        assert window.times_s[-1] == pytest.approx(ends_s)
        assert not window.dq[-1].any()
        assert window.times_s[0] == 0


@pytest.mark.parametrize(("command_hz", "committed"), [(20, 1), (50, 2)])
def test_consecutive_windows_agree_on_the_knots_that_are_final(command_hz, committed):
    windows = drive(np.random.default_rng(1).normal(0, 1, (60, 3)), command_hz)
    for before, after in itertools.pairwise(windows):
        np.testing.assert_array_equal(before.q[1 : committed + 1], after.q[:committed])
        np.testing.assert_array_equal(before.dq[1 : committed + 1], after.dq[:committed])


@pytest.mark.parametrize("command_hz", [20, 50])
def test_joint_acceleration_is_continuous_within_and_across_windows(command_hz):
    windows = drive(np.random.default_rng(2).normal(0, 1, (30, 3)), command_hz)
    for window in windows:
        begins, ends = accelerations(window)
        np.testing.assert_allclose(ends[:-1], begins[1:], atol=1e-9)
        np.testing.assert_allclose(ends[-1], 0, atol=1e-9)
    for before, after in itertools.pairwise(windows):
        np.testing.assert_allclose(accelerations(before)[1][0], accelerations(after)[0][0], atol=1e-9)


def accelerations(window):
    """Joint accelerations [n - 1, 7] where the cubic between two knots begins, and where it ends."""
    h, rise = np.diff(window.times_s)[:, None], np.diff(window.q, axis=0)
    v0, v1 = window.dq[:-1], window.dq[1:]
    return 6 * rise / h**2 - (4 * v0 + 2 * v1) / h, (2 * v0 + 4 * v1) / h - 6 * rise / h**2


def test_full_speed_stops_within_200_ms_and_25_mm():
    motion = Motion(LIMITS, 20)
    for _ in range(8):
        motion.aim(row_displacement([0, 1, 0], LIMITS, 0.1), 2)
        for _ in range(2):
            motion.plan(0, False)
            motion.advance(1)
    speed = kinematics.jacobian(motion.q)[:3] @ motion._dq[0]
    assert np.linalg.norm(speed) > 0.23
    start, ticks = kinematics.forward(motion.q)[0], 0
    motion.stop()
    while not motion.standing:
        motion.plan(0, False)
        motion.advance(1)
        ticks += 1
    assert ticks * motion.dt <= 0.2 + 1e-9
    assert np.linalg.norm(kinematics.forward(motion.q)[0] - start) <= 0.025


def test_a_full_row_moves_the_arm_a_full_step_once_at_speed():
    windows = drive(np.tile([0.0, 1, 0], (12, 1)))
    tcp = np.array([kinematics.forward(w.q[0])[0] for w in windows])
    assert tcp[18, 1] - tcp[16, 1] == pytest.approx(0.024, abs=0.001)
    assert np.abs(tcp[:, [0, 2]] - tcp[0, [0, 2]]).max() < 0.002


def test_the_arm_arrives_at_its_goal_and_stays_upright():
    motion = Motion(LIMITS, 20)
    motion.aim_at([0.6, -0.2, 0.1])
    for _ in range(120):
        motion.plan(0, False)
        motion.advance(1)
    position, rotation = kinematics.forward(motion.q)
    np.testing.assert_allclose(position, [0.6, -0.2, 0.1], atol=1e-4)
    np.testing.assert_allclose(rotation, fr3.R_DOWN, atol=1e-3)


def test_joint_goals_are_reached_exactly():
    motion, goal = Motion(LIMITS, 20), fr3.HOME_Q + 0.1
    motion.aim_joints(goal)
    for _ in range(60):
        motion.plan(0, False)
        motion.advance(1)
    assert motion.standing
    np.testing.assert_allclose(motion.q, goal, atol=1e-5)


def test_an_arm_folded_to_a_joint_end_slides_out_instead_of_sticking():
    motion = Motion(LIMITS, 20)
    for goal in ([0.384, 0.031, 0.09], [0.30, 0.03, 0.09], [0.45, 0.0, 0.3]):
        motion.aim_at(goal)
        for _ in range(100):
            motion.plan(0, False)
            motion.advance(1)
    np.testing.assert_allclose(motion.tcp_m, [0.45, 0.0, 0.3], atol=2e-3)


def test_a_goal_stays_in_the_workspace_and_near_the_arm():
    motion = Motion(LIMITS, 20)
    for _ in range(40):
        motion.aim(np.array([0, 0, -0.025]), 2)
        assert motion.goal_m[2] >= motion.tcp_m[2] - 0.05 - 1e-9
        for _ in range(2):
            motion.plan(0, False)
            motion.advance(1)
    assert motion.goal_m[2] == pytest.approx(LIMITS.workspace_min_m[2] + 0.001)


def test_windows_go_on_where_the_last_one_left_the_arm_after_missed_ticks():
    motion = Motion(LIMITS, 50, committed=2)
    motion.aim(np.array([0, 0.02, 0]), 1)
    window = motion.plan(0, False)
    motion.advance(100)
    np.testing.assert_array_equal(motion.q, window.q[-1])
    assert motion.standing
