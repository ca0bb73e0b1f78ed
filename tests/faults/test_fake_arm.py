"""The fake FR3 follows windows exactly and notices each way of breaking a limit."""

import numpy as np
import pytest
from fake_arm import DROPOUT, JOINT_JERK, REFLEXES, FakeArm, datasheet_speed, tcp_motion

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits
from tmrl_ros.robot import trajectory
from tmrl_ros.supervisor.motion import Motion
from tmrl_ros.types import CommandWindow

START_NS = 1_000_000_000
MIDDLE = (fr3.Q_MIN + fr3.Q_MAX) / 2
STRETCHED = np.array([0, 1.2, 0, -0.5, 0, 1.7, 0])
J1, J2, J7 = np.eye(7)[0], np.eye(7)[1], np.eye(7)[6]


def line(q, *legs, stamp_ns=START_NS) -> CommandWindow:
    """A window from q [7]: legs of (seconds, joint speed at their end [7]); acceleration is constant in each."""
    times, qs, dqs = [0.0], [np.array(q, float)], [np.zeros(7)]
    for seconds, dq in legs:
        times.append(times[-1] + seconds)
        qs.append(qs[-1] + (dqs[-1] + dq) * seconds / 2)
        dqs.append(np.array(dq, float))
    return CommandWindow(stamp_ns, np.array(times), np.array(qs), np.array(dqs), False)


def followed(window, q=fr3.HOME_Q, milliseconds=None, **options) -> FakeArm:
    arm = FakeArm(q=q, **options)
    arm.send(window)
    arm.run(milliseconds or round(window.times_s[-1] * 1000))
    return arm


def test_tcp_motion_is_that_of_the_kinematics():
    rng = np.random.default_rng(0)
    q, dq = rng.uniform(fr3.Q_MIN, fr3.Q_MAX, (40, 7)), rng.normal(size=(40, 7))
    for position, twist, q_i, dq_i in zip(*tcp_motion(q, dq), q, dq, strict=True):
        np.testing.assert_allclose(position, kinematics.forward(q_i)[0], atol=1e-12)
        np.testing.assert_allclose(twist.ravel(), kinematics.jacobian(q_i) @ dq_i, atol=1e-12)


def test_it_stands_where_a_window_evaluates_to():
    window = line(fr3.HOME_Q, (0.1, 0.1 * J1), (0.05, 0.05 * J2))
    for milliseconds in (1, 77, 149):
        arm = followed(window, milliseconds=milliseconds)
        q, dq = trajectory.evaluate(window, np.array([milliseconds / 1000]))
        np.testing.assert_array_equal(arm.q, q[0])
        np.testing.assert_array_equal(arm.dq, dq[0])
        assert arm.stamp_ns == START_NS + milliseconds * 1_000_000


def test_motion_within_the_datasheet_trips_nothing():
    arm = followed(line(fr3.HOME_Q, (0.1, 0.24 * J1), (0.1, 0 * J1)), milliseconds=300)
    assert not arm.reflexes and arm.standing
    assert all(-1 <= excess < 0 for excess in arm.excess.values())


def test_acceleration_and_jerk_are_measured_exactly():
    # 2 rad/s^2 up, then down: a step of 4 rad/s^2 within 1 ms.
    arm = followed(line(fr3.HOME_Q, (0.1, 0.2 * J7), (0.1, 0 * J7)))
    assert arm.excess["joint acceleration", "FR3"] == pytest.approx(2 / 10 - 1, abs=1e-9)
    assert arm.excess["joint jerk", "FR3"] == pytest.approx(4000 / JOINT_JERK - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("quantity", "window", "q"),
    [
        ("joint speed", line(MIDDLE, (1.0, 2.7 * J1), (1.0, 0 * J1)), MIDDLE),
        ("joint acceleration", line(fr3.HOME_Q, (0.1, 1.01 * J7)), fr3.HOME_Q),
        ("joint jerk", line(fr3.HOME_Q, (0.1, 0.3 * J7), (0.1, 0 * J7)), fr3.HOME_Q),
        ("tcp acceleration", line(STRETCHED, (0.1, 0.95 * (J1 + J2))), STRETCHED),
        ("turn speed", line(fr3.HOME_Q, (0.3, 2.6 * J7), (0.3, 0 * J7)), fr3.HOME_Q),
    ],
)
def test_each_violation_is_the_reflex_of_that_name(quantity, window, q):
    arm = followed(window, q=q, latches=False)
    assert arm.reflexes[REFLEXES[quantity]]
    assert arm.excess[quantity, "FR3"] > 0


def test_a_joint_past_its_end_is_a_reflex():
    q = np.array([*MIDDLE[:6], fr3.Q_MAX[6] - 0.01])
    arm = followed(line(q, (0.1, 0.4 * J7), (0.1, 0 * J7)), q=q, latches=False)
    assert arm.reflexes[REFLEXES["joint position"]]


def test_near_its_end_a_joint_must_be_slower():
    q = np.array([*MIDDLE[:6], fr3.Q_MAX[6] - 0.1])
    at_rest = datasheet_speed(q[None])[1][0, 6]
    for share, reflexes in ((0.3, 0), (1.2, 1)):  # under way the bound falls further
        arm = followed(line(q, (0.05, share * at_rest * J7)), q=q, latches=False)
        assert arm.reflexes[REFLEXES["joint speed"]] == reflexes
    assert at_rest == pytest.approx(np.sqrt(2 * 17 * 0.1) - 0.4628)


@pytest.mark.parametrize("step_rad", [1e-5, 1e-2])
def test_a_position_step_between_two_windows_is_a_discontinuity(step_rad):
    arm = FakeArm()
    arm.run(50)
    arm.send(trajectory.hold(arm.stamp_ns, fr3.HOME_Q + step_rad * J1))
    arm.run(50)
    assert arm.reflexes[REFLEXES["joint acceleration"]]


def test_a_window_that_is_not_finite_is_a_reflex_and_counts_as_infinite():
    arm = FakeArm()
    arm.send(trajectory.hold(START_NS, fr3.HOME_Q * np.nan))
    arm.run(5)
    assert arm.reflex and arm.excess["joint acceleration", "FR3"] == np.inf


def test_after_a_reflex_it_stands_until_a_person_recovers_it():
    arm = followed(line(fr3.HOME_Q, (0.1, 1.01 * J7), (0.2, 0 * J7)), milliseconds=20)
    stood = arm.q.copy()
    assert arm.reflex == REFLEXES["joint acceleration"] and arm.standing
    arm.send(line(stood, (0.1, 0.1 * J1), stamp_ns=arm.stamp_ns))
    arm.run(100)
    np.testing.assert_array_equal(arm.q, stood)
    arm.recover()
    arm.send(line(stood, (0.1, 0.1 * J1), stamp_ns=arm.stamp_ns))
    arm.run(100)
    assert arm.q[0] > stood[0] + 0.004 and not arm.reflex


def test_silence_means_that_it_stands_at_the_end_of_the_last_window():
    window = line(fr3.HOME_Q, (0.1, 0.2 * J1), (0.1, 0 * J1))
    arm = followed(window, milliseconds=5000)
    np.testing.assert_array_equal(arm.q, window.q[-1])
    assert arm.standing and not arm.reflexes


def test_the_link_may_drop_out_for_19_ms_but_not_for_20():
    arm = FakeArm()
    for _ in range(3):
        arm.run(19, link=False)
        arm.run(1)
    assert not arm.reflexes
    for _ in range(4):
        arm.run(5, link=False)
    assert arm.reflexes == {DROPOUT: 1} and arm.reflex == DROPOUT


def test_without_the_link_it_goes_on_with_its_last_acceleration():
    arm = followed(line(fr3.HOME_Q, (0.2, 0.4 * J1)), milliseconds=100)
    arm.run(10, link=False)
    assert arm.dq[0] == pytest.approx(0.2 + 2 * 0.01)
    assert arm.q[0] == pytest.approx(2 * 0.11**2 / 2)


def test_it_measures_against_our_limits_and_workspace_too():
    limits = SafetyLimits(tcp_speed_m_s=0.05, workspace_max_m=(0.75, 0.004, 0.55))
    arm = followed(line(fr3.HOME_Q, (0.2, 0.2 * J1), (0.2, 0 * J1)), limits=limits)
    assert arm.excess["tcp speed", "ours"] == pytest.approx(0.2 * 0.45 / 0.05 - 1, rel=1e-6)
    assert arm.workspace_mm == pytest.approx(1e3 * (0.45 * np.sin(0.04) - 0.004), abs=1e-6)


def test_the_stream_of_a_cautious_supervisor_is_within_the_datasheet():
    limits = SafetyLimits(joint_speed_share=0.5, joint_acceleration_share=0.25)
    motion, arm, rng = Motion(limits, 50, committed=2), FakeArm(limits), np.random.default_rng(0)
    for tick in range(200):
        if tick % 5 == 0:
            motion.aim(rng.choice([-0.025, 0, 0.025], 3), 5)
        arm.send(motion.plan(arm.stamp_ns, False))
        arm.run(20)
        motion.advance(1)
    assert not arm.reflexes and np.linalg.norm(arm.tcp_m - fr3.HOME_TCP) > 0.01
    assert max(v for (quantity, _), v in arm.excess.items() if "position" not in quantity) <= 1e-6
