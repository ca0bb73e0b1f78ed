"""The simulated robot: determinism, tracking, grip, deployment shifts, reward source."""

import numpy as np
import pytest

from tmrl_ros import fr3
from tmrl_ros.config import SafetyLimits, Shift, Task, Timing
from tmrl_ros.errors import ConfigError
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.tasks import PushCube, Scene, make_task
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.robot.trajectory import hold
from tmrl_ros.supervisor.motion import Motion

OPEN_M = 0.08


def make_sim(task="pick_cube", seed=0, **shift) -> SimRobot:
    return SimRobot(Task(name=task), Timing(), Shift(**shift), seed)


class Rig:
    """A simulated robot with the supervisor's motion, and none of its gates."""

    def __init__(self, sim, **limits):
        self.sim, self.motion = sim, Motion(SafetyLimits(**limits), Timing().command_hz)

    def step(self, action_xyz, close):
        """One action row, two ticks."""
        self.motion.aim(0.025 * action_xyz, ticks=2)
        for _ in range(2):
            self.tick(close)

    def tick(self, close=False):
        self.sim.run_tick(self.motion.plan(self.sim.stamp_ns, close), 0.0 if close else OPEN_M)
        self.motion.advance(1)


def run_expert(sim, task="pick_cube", seed=0):
    """Action rows until success, or None after those of an episode."""
    rig, expert = Rig(sim), ScriptedTeleop(task, seed)
    for row in range(round(Task().episode_s * Timing().action_hz)):
        wish = expert.command(sim)
        if wish.keep:
            return row
        rig.step(wish.velocity, wish.close_gripper)
    return None


@pytest.mark.parametrize(("task", "late"), [("pick_cube", 1), ("push_cube", 0)])
def test_expert_succeeds_within_an_episode(task, late):
    """Who begins with a miss may run out of time; the supervisor does not count such an episode."""
    rows = [run_expert(make_sim(task, seed), task, seed) for seed in range(20)]
    assert rows.count(None) <= late, f"failed on seeds {[i for i, r in enumerate(rows) if r is None]}"


def test_expert_recovers_from_a_grasp_beside_the_cube():
    rig_sim, expert = make_sim(), ScriptedTeleop("pick_cube", 0)
    expert.answer(0, rig_sim.tcp_position(), rig_sim.true_objects()[0], 0.08, False)
    expert._miss_m = np.array([0.05, 0.0, 0.02])
    rig, widths = Rig(rig_sim), []
    for _ in range(60):
        wish = expert.command(rig_sim)
        if wish.keep:
            break
        rig.step(wish.velocity, wish.close_gripper)
        widths.append(rig_sim.robot_state().width_m)
    assert wish.keep and min(widths) < 0.01, "it closes on nothing first, and succeeds then"


def test_same_seed_gives_the_same_states_bit_for_bit():
    first, second = make_sim(seed=4), make_sim(seed=4)
    for sim in (first, second):
        run_expert(sim, seed=4)
    np.testing.assert_array_equal(first.qpos(), second.qpos())
    np.testing.assert_array_equal(first.robot_state().force_n, second.robot_state().force_n)
    assert first.stamp_ns == second.stamp_ns


def test_start_depends_on_seed_stream_and_episode_alone():
    sim, fresh = make_sim(), make_sim()
    for episode in range(5):
        sim.reset_objects(3, episode)
    fresh.reset_objects(3, 4)
    np.testing.assert_array_equal(sim.true_objects(), fresh.true_objects())


def test_starts_differ_between_seeds_streams_and_episodes():
    starts = []
    for seed in (0, 1):
        sim = make_sim(seed=seed)
        for stream in (0, 1):
            for episode in (0, 1):
                sim.reset_objects(stream, episode)
                starts.append(tuple(sim.true_objects()[0, :2]))
    assert len(set(starts)) == 8


def test_starts_fill_the_region_and_nothing_else():
    sim, starts = make_sim(), []
    for episode in range(300):
        sim.reset_objects(0, episode)
        starts.append(sim.true_objects()[0])
    low, high = np.min(starts, 0), np.max(starts, 0)
    assert np.all(low >= (0.38, 0.02, 0.0224)) and np.all(high <= (0.66, 0.20, 0.0226))
    assert np.all(high[:2] - low[:2] > (0.26, 0.165))


def test_camera_bias_moves_what_is_seen_and_not_what_is():
    sim, plain = make_sim(camera_bias_m=(0, -0.05, 0.01)), make_sim()
    np.testing.assert_array_equal(sim.true_objects(), plain.true_objects())
    np.testing.assert_allclose(sim.observed_objects() - sim.true_objects(), [(0, -0.05, 0.01)], atol=1e-12)
    np.testing.assert_array_equal(sim.task_state().objects_m, sim.true_objects())


def test_start_offset_mass_and_friction_are_shifted():
    plain, shifted = make_sim(), make_sim(start_region_offset_m=(0, -0.2, 0), mass_scale=3, friction_scale=0.5)
    np.testing.assert_allclose(shifted.true_objects() - plain.true_objects(), [(0, -0.2, 0)], atol=1e-12)
    assert shifted.model.body("cube").mass[0] == pytest.approx(3 * plain.model.body("cube").mass[0])
    assert np.all(shifted.model.geom("cube").friction[0] == 0.5 * plain.model.geom("cube").friction[0])


def test_arm_stands_still_against_gravity():
    sim = make_sim()
    for _ in range(40):
        sim.run_tick(hold(sim.stamp_ns, fr3.HOME_Q), OPEN_M)
    np.testing.assert_allclose(sim.robot_state().q, fr3.HOME_Q, atol=1e-3)
    np.testing.assert_allclose(sim.tcp_position(), fr3.HOME_TCP, atol=1e-3)
    assert np.linalg.norm(sim.robot_state().force_n) < 0.1


def test_arm_follows_a_bounded_motion_within_a_centimetre():
    rig = Rig(make_sim())
    for _ in range(8):
        rig.step(np.array([0.3, 0.8, -0.5]), False)
        assert np.linalg.norm(rig.sim.desired_tcp_position() - rig.sim.tcp_position()) < 0.01


def test_arm_stops_at_the_end_of_its_window_when_commands_cease():
    rig = Rig(make_sim())
    for _ in range(4):
        rig.step(np.array([0, 1.0, 0]), False)
    last = rig.motion.plan(rig.sim.stamp_ns, False)
    assert np.abs(last.dq[0]).max() > 0.2
    for _ in range(40):
        rig.sim.run_tick(last, OPEN_M)
    assert np.abs(rig.sim.robot_state().dq).max() < 1e-3
    np.testing.assert_allclose(rig.sim.robot_state().q, last.q[-1], atol=1e-3)


def test_tick_is_exactly_one_period_of_the_command_stream():
    sim = make_sim()
    before_ns, before_s = sim.stamp_ns, sim.data.time
    sim.run_tick(hold(sim.stamp_ns, fr3.HOME_Q), OPEN_M)
    assert sim.stamp_ns - before_ns == 50_000_000
    assert sim.data.time - before_s == pytest.approx(0.05)


def test_hand_closes_at_its_own_speed():
    sim = make_sim()
    for _ in range(8):
        sim.run_tick(hold(sim.stamp_ns, fr3.HOME_Q), 0.0)
    assert sim.robot_state().width_m == pytest.approx(0.08 - 0.4 * fr3.HAND_SPEED, abs=0.004)


def test_held_cube_neither_slips_nor_counts_before_it_is_high():
    sim = make_sim()
    assert not sim.task_state().success
    assert run_expert(sim, seed=1) is not None
    grip = sim.true_objects()[0] - sim.tcp_position()
    q = sim.robot_state().q
    for _ in range(100):
        sim.run_tick(hold(sim.stamp_ns, q), 0.0)
    assert sim.task_state().success
    np.testing.assert_allclose(sim.true_objects()[0] - sim.tcp_position(), grip, atol=0.003)


def test_pressing_on_the_table_is_felt_and_bounded():
    rig = Rig(make_sim(), workspace_min_m=(0.28, -0.35, -0.06))
    rig.motion.aim_at(np.array([0.45, -0.2, -0.05]))  # the fingers meet the table at about +1 cm
    for _ in range(80):
        rig.tick()
    assert 10 < rig.sim.robot_state().force_n[2] < 60


@pytest.mark.parametrize(
    ("cube", "tcp", "fingers", "success"),
    [
        ((0.5, 0.1, 0.103), (0.5, 0.1, 0.10), 2, True),
        ((0.5, 0.1, 0.102), (0.5, 0.1, 0.10), 2, False),  # 7.95 cm
        ((0.5, 0.1, 0.150), (0.5, 0.1, 0.15), 1, False),  # balanced on one finger
        ((0.5, 0.1, 0.150), (0.5, 0.1, 0.25), 2, False),
    ],
)
def test_pick_needs_height_and_both_fingers(cube, tcp, fingers, success):
    assert make_task("pick_cube").success(Scene(np.array(cube), np.array(tcp), fingers)) is success


def test_push_needs_the_line_and_the_table():
    task, tcp = make_task("push_cube"), np.zeros(3)
    beyond, before = PushCube.LINE_X_M + 0.001, PushCube.LINE_X_M - 0.001
    assert task.success(Scene(np.array([beyond, 0, 0.0225]), tcp, 0))
    assert not task.success(Scene(np.array([before, 0, 0.0225]), tcp, 0))
    assert not task.success(Scene(np.array([beyond, 0, 0.10]), tcp, 2))


def test_expert_varies_between_episodes_and_seeds():
    sim = make_sim()
    wishes = set()
    for seed in (0, 1):
        expert = ScriptedTeleop("pick_cube", seed)
        for episode in (0, 1):
            sim.reset_objects(0, episode)
            rows = [expert.answer(0, np.array([0.5, 0.1, 0.15]), sim.true_objects()[0], 0.08, False) for _ in range(3)]
            wishes.add(tuple(rows[-1].velocity))
    assert len(wishes) == 4


def test_unknown_task_is_refused_with_the_valid_names():
    with pytest.raises(ConfigError, match=r"'fold_towel'.*pick_cube, push_cube"):
        make_task("fold_towel")
    with pytest.raises(ConfigError, match=r"'fold_towel'.*pick_cube, push_cube"):
        ScriptedTeleop("fold_towel", 0)


def test_picture_shows_the_present_and_any_stored_moment():
    sim = make_sim()
    try:
        before = sim.render(height=60, width=80)
    except ConfigError as error:
        pytest.skip(str(error))
    stored = sim.qpos()
    sim.reset_objects(0, 5)
    assert before.shape == (60, 80, 3) and before.std() > 10
    assert np.any(sim.render(height=60, width=80) != before)
    np.testing.assert_array_equal(sim.render(stored, height=60, width=80), before)
    depth_m = sim.render_depth(height=60, width=80)
    assert 0.7 < depth_m[50, 40] < 2.0  # the table, in front of the camera
    assert sim.focal_px(60) == pytest.approx(30 / np.tan(np.radians(25)))
