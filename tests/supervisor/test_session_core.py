"""What a session does from start to end, against a robot that follows exactly."""

import itertools

import numpy as np
import pytest
from standin import StandIn, chunk_for, config, session, wish

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import Timing
from tmrl_ros.errors import ActionError, ConfigError, TmrlError
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.types import Decision, Mode, SessionState

REAL = Timing(command_hz=50, lockstep=False)


def forward(request):
    return chunk_for(request, np.tile(np.array([0.5, 0, 0, 1], np.float32), (16, 1)))


def spoil(after):
    """A policy that answers NaN from decision `after` on, once."""
    asked = []

    def policy(request):
        asked.append(request)
        rows = np.full((16, 4), np.nan, np.float32) if len(asked) == after + 1 else None
        return chunk_for(request, rows)

    return policy


def in_episode(run):
    return run.core.runner.episode is not None


def test_every_two_modes_are_separated_by_hold():
    modes = session(forward, episodes=3).run().modes
    changes = [(a, b) for a, b in itertools.pairwise(modes) if a != b]
    assert {Mode.RESET, Mode.POLICY} <= set(modes)
    assert all(Mode.HOLD in pair for pair in changes)


def test_the_arm_stands_whenever_a_mode_begins():
    run = session(forward, episodes=3).run()
    for before, mode, window in zip(run.modes, run.modes[1:], run.windows[1:], strict=False):
        if before == Mode.HOLD and mode != Mode.HOLD:
            assert not window.dq[0].any()


def test_an_evaluation_ends_after_its_episodes_and_is_greedy_throughout():
    run = session(forward, episodes=3).run()
    status = run.core.status()
    assert (status.state, status.episodes, status.reason) == (SessionState.ENDED, 3, "3 episodes are done")
    assert [event.reason for event in run.ends()] == ["time"] * 3
    assert all(request.greedy for request in run.requests)
    assert [request.episode for request in run.resets] == [0, 1, 2]


def test_decisions_carry_what_ran_and_cost_one_each_until_time_is_up():
    decisions = session(forward, episodes=1).run().of(Decision)
    assert [len(d.actions) for d in decisions] == [8, 8, 4]
    assert [d.reward for d in decisions] == [-1, -1, -1]
    assert [d.truncated for d in decisions] == [False, False, True]
    assert not any(d.terminated for d in decisions)
    assert all(a.next_stamp_ns == b.stamp_ns for a, b in itertools.pairwise(decisions))
    assert all(d.next_stamp_ns - d.stamp_ns == len(d.actions) * 100_000_000 for d in decisions)
    np.testing.assert_allclose(decisions[0].actions, np.tile([0.5, 0, 0, 1], (8, 1)), atol=1e-6)
    assert decisions[0].modulation.sigma == 0.1 and decisions[0].actor_version == 3


def test_success_inside_a_chunk_ends_the_episode_at_that_observation():
    run = session(forward, success=lambda s: len(s.requests) == 2 and s.core.motion.tcp_m[0] > 0.57, episodes=1).run()
    last = run.of(Decision)[-1]
    assert 1 <= len(last.actions) < 8
    assert (last.reward, last.terminated, last.truncated, last.success) == (0.0, True, False, True)
    assert run.core.status().successes == 1 and run.ends()[0].reason == "success"


def test_recorded_actions_are_what_ran_after_clipping():
    diagonal = np.tile(np.array([3, 3, 0, 2], np.float32), (16, 1))
    first = session(lambda r: chunk_for(r, diagonal), episodes=1).run().of(Decision)[0].actions
    assert np.linalg.norm(first[0, :3]) == pytest.approx(1.0)
    assert set(first[:, 3]) == {1.0}
    down = np.tile(np.array([0, 0, -1, -1], np.float32), (16, 1))
    decisions = session(lambda r: chunk_for(r, down), episodes=1).run().of(Decision)
    fallen = sum(d.actions[:, 2].sum() for d in decisions) * 0.025
    assert fallen == pytest.approx(0.013 - fr3.HOME_TCP[2], abs=1e-3)  # the floor of the workspace, and no further


def test_the_hand_changes_at_most_twice_a_second():
    flicker = np.zeros((16, 4), np.float32)
    flicker[::2, 3], flicker[1::2, 3] = 1, -1
    grips = np.concatenate([d.actions[:, 3] for d in session(lambda r: chunk_for(r, flicker)).run().of(Decision)])
    changes = np.flatnonzero(np.diff(grips))
    assert len(changes) and np.diff(changes).min() >= 5


def test_finetuning_ends_when_its_robot_time_is_over_resets_included():
    run = session(forward, mode="finetune", session_min=0.2).run()
    status = run.core.status()
    assert status.state == SessionState.ENDED
    assert status.robot_time_s == pytest.approx(12.0, abs=0.11)
    assert sum(r.greedy for r in run.requests) not in (0, len(run.requests))
    assert run.ends()[-1].reason == "session" and not run.ends()[-1].counted
    assert run.of(Decision)[-1].truncated


def test_a_collection_counts_only_kept_episodes():
    begun = []

    def teleop(stamp_ns):
        begun.append(stamp_ns)
        return wish(stamp_ns, (0.5, 0, 0), close=True, discard=len(begun) in (30, 31), keep=len(begun) > 200)

    run = session(teleop=teleop, mode="collect", episodes=2).run()
    reasons = [event.reason for event in run.ends()]
    assert "discarded" in reasons and "time" in reasons and reasons.count("kept") == 2
    assert all(event.counted == (event.reason == "kept") for event in run.ends())
    assert run.core.status().episodes == run.core.status().successes == 2
    assert not run.requests


def test_teleoperation_is_recorded_row_by_row_in_action_units():
    run = session(teleop=lambda t: wish(t, (0.4, 0, 0), close=True), mode="collect", episodes=1).run(4)
    first = run.of(Decision)[0]
    assert first.source == Mode.TELEOP and len(first.actions) == 8 and first.modulation.z.size == 0
    np.testing.assert_allclose(first.actions, np.tile([0.4, 0, 0, 1], (8, 1)), atol=1e-6)


def test_a_released_clutch_stands_still():
    run = session(teleop=lambda t: wish(t, (1, 1, 1), clutch=False), mode="collect", episodes=1).run(4)
    assert not np.concatenate([d.actions[:, :3] for d in run.of(Decision)]).any()


def test_a_bad_chunk_holds_with_its_reason_until_a_person_resumes():
    run = session(spoil(1), episodes=2).run(until=lambda s: s.errors)
    run.run(1.0)
    status = run.core.status()
    assert status.mode == Mode.HOLD and "nan in row 0" in status.reason and status.holds == 1
    assert run.ends()[0].reason == status.reason and not run.ends()[0].success
    standing = run.windows[-1]
    run.run(2.0)
    np.testing.assert_array_equal(run.windows[-1].q, standing.q)
    assert run.core.status().robot_time_s > status.robot_time_s  # holds count
    run.core.resume()
    run.run()
    assert run.core.status().state == SessionState.ENDED and run.core.status().episodes == 2


def test_an_unattended_simulation_resumes_by_itself_and_counts_the_hold():
    run = session(spoil(1), episodes=3, auto_resume_s=1.0).run()
    status = run.core.status()
    assert (status.state, status.holds, status.episodes) == (SessionState.ENDED, 1, 3)


@pytest.mark.parametrize("changes", [{"decision": 99}, {"episode": 9}, {"stamp_ns": 5}])
def test_a_foreign_chunk_is_ignored_and_the_right_one_still_runs(changes):
    core = SupervisorCore(config(episodes=1))
    core.start()

    def policy(request):
        with pytest.raises(ActionError):
            core.offer(chunk_for(request, **changes))
        assert core.status().mode == Mode.POLICY
        return chunk_for(request)

    run = StandIn(core, policy).run()
    assert core.status().episodes == 1 and core.status().holds == 0 and not run.errors


def test_a_duplicate_is_ignored():
    core = SupervisorCore(config(episodes=1))
    core.start()

    def policy(request):
        core.offer(chunk_for(request))
        return chunk_for(request)

    run = StandIn(core, policy).run()
    assert core.status().holds == 0 and all("none is awaited" in e for e in run.errors)


def test_a_missing_answer_holds():
    run = session(lambda request: None).run(3)
    assert run.core.status().mode == Mode.HOLD and "no action chunk answered decision 0" in run.core.status().reason


def test_silence_of_a_source_holds_and_brakes():
    run = session(forward).run(until=lambda s: np.abs(s.dq).max() > 0.2)
    run.core.silence("action_chunk")
    run.run(0.25)
    assert not run.dq.any() and run.core.status().reason == "action_chunk is silent"


def test_huge_actions_in_a_row_hold_and_a_single_one_is_clamped():
    huge = np.zeros((16, 4), np.float32)
    huge[0] = 1e6
    assert session(lambda r: chunk_for(r, huge), episodes=1).run().core.status().holds == 0
    huge[:] = 1e6
    assert "5 actions in a row" in session(lambda r: chunk_for(r, huge), episodes=1).run(5).core.status().reason


def test_a_force_spike_holds_and_the_reference_gives_way():
    run = session(forward).run(until=lambda s: len(s.of(Decision)) == 1)
    run.force_n, run.q = np.array([0, 0, 60.0]), run.q - 0.02
    pressed = run.q.copy()
    run.tick()
    run.force_n = np.zeros(3)
    run.run(1.0)
    assert "external force of 60 N" in run.core.status().reason
    np.testing.assert_allclose(run.windows[-1].q[0], pressed, atol=1e-4)


def test_an_arm_that_does_not_follow_is_a_fault_and_the_command_goes_to_where_it_is():
    run = session(forward).run(until=in_episode)
    run.q = stuck = run.q + 0.2
    run.tick()
    assert run.core.status().mode == Mode.FAULT
    run.q = stuck
    for _ in range(60):
        run.tick()
        run.q = stuck
    np.testing.assert_allclose(run.windows[-1].q[0], stuck, atol=1e-5)
    run.core.resume()


def test_a_resume_makes_no_step_where_the_arm_is_measured_beside_its_command():
    run = session(forward).run(until=in_episode)
    run.core.hold("a test")
    for _ in range(10):
        run.tick()
        run.q = run.q + 0.003
    commanded = run.windows[-1].q[-1]
    run.core.resume()
    run.tick()
    np.testing.assert_array_equal(run.windows[-1].q[0], commanded)


@pytest.mark.parametrize("jump_s", [-10, 10, 0.3])
def test_a_jump_of_the_clock_holds(jump_s):
    run = session(forward).run(until=in_episode)
    run.run(0.5)
    before = run.core.status().robot_time_s
    run.stamp_ns += round(jump_s * 1e9)
    run.tick()
    status = run.core.status()
    assert status.mode == Mode.HOLD and "jumped" in status.reason
    assert 0 <= status.robot_time_s - before <= 1.0 + 1e-9


def test_an_arm_that_is_heard_again_after_its_driver_was_gone_is_commanded_where_it_stands():
    run = session(forward).run(until=in_episode)
    run.run(0.5)
    run.q, run.dq = run.q + 0.05, np.zeros(7)  # pushed, or stopped by its brakes, while nobody heard of it
    measured = run.q
    run.stamp_ns += 3_000_000_000
    run.tick()
    np.testing.assert_array_equal(run.windows[-1].q[0], measured)
    assert run.core.status().mode == Mode.HOLD


def test_a_robot_state_with_nan_holds_and_the_command_stays_finite():
    run = session(forward).run(until=in_episode)
    run.q = np.full(7, np.nan)
    run.tick()
    assert run.core.status().mode == Mode.HOLD and np.isfinite(run.windows[-1].q).all()


def test_three_failed_resets_end_the_session():
    run = session(forward)
    run.place = lambda request: False
    run.run()
    assert run.core.status().state == SessionState.ENDED and "3 resets in a row failed" in run.core.status().reason
    assert len(run.resets) == 3 and not run.of(Decision)


def test_a_task_that_is_done_before_it_began_is_a_failed_reset():
    run = session(forward, success=lambda s: True).run()
    assert "already done" in run.core.status().reason and not run.of(Decision)


def test_a_reset_ends_at_home_with_the_hand_open():
    run = session(lambda r: chunk_for(r, np.tile(np.array([1, 1, -1, 1], np.float32), (16, 1))), episodes=2)
    run.run(until=lambda s: len(s.resets) == 2)
    np.testing.assert_allclose(run.q, fr3.HOME_Q, atol=2e-4)
    assert run.width_m == 0.08


def test_the_same_seed_and_answers_give_the_same_session():
    def once():
        rng = np.random.default_rng(5)
        return session(lambda r: chunk_for(r, rng.normal(0, 1, (16, 4)).astype(np.float32)), mode="finetune",
                       session_min=0.15, seed=3).run()  # fmt: skip

    first, second = once(), once()
    assert [repr(r) for r in first.records] == [repr(r) for r in second.records]
    for a, b in zip(first.windows, second.windows, strict=True):
        np.testing.assert_array_equal(a.q, b.q)


def test_a_session_waits_for_start_and_starts_once():
    run = StandIn(SupervisorCore(config()))
    run.run(1.0)
    assert set(run.modes) == {Mode.HOLD} and run.core.status().robot_time_s == 0
    run.core.start()
    with pytest.raises(TmrlError, match="it starts once"):
        run.core.start()


def test_ending_cuts_the_episode_and_leaves_it_uncounted():
    run = session(forward).run(until=in_episode)
    run.core.end("the operator ended it")
    run.records += run.core.drain()
    assert run.ends()[-1].reason == "session" and not run.ends()[-1].counted
    assert run.core.status().reason == "the operator ended it"
    run.tick()
    assert not run.windows[-1].dq[-1].any()


def test_a_label_corrects_the_tally():
    run = session(forward, episodes=2).run()
    run.core.label(1, True)
    assert run.core.status().successes == 1 and run.core.status().recent_success == 0.5
    assert run.core.drain()[-1].kind == "labelled"
    with pytest.raises(TmrlError, match="episode 7 cannot be labelled; ended ones that can: 0 to 1"):
        run.core.label(7, True)


def test_resume_without_a_hold_is_refused():
    with pytest.raises(TmrlError, match="no hold"):
        session().core.resume()


def test_a_workspace_without_the_home_position_is_refused():
    with pytest.raises(ConfigError, match="home position"):
        SupervisorCore(config(limits={"workspace_max_m": (0.4, 0.35, 0.55)}))


def test_rates_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="no multiple"):
        SupervisorCore(config(timing={"command_hz": 25, "action_hz": 10}))


def test_the_tcp_starts_each_episode_at_home():
    run = session(forward, episodes=2)
    run.run(until=lambda s: len(s.requests) == 4)
    np.testing.assert_allclose(kinematics.forward(run.q)[0], fr3.HOME_TCP, atol=0.01)


def test_the_emergency_stop_is_a_fault_until_it_is_released_and_a_person_resumes():
    run = session(forward, auto_resume_s=1.0).run(until=in_episode)
    run.core.emergency_stop(True)
    run.run(3)
    assert run.core.status().mode == Mode.FAULT and run.core.status().reason == "the emergency stop is pressed"
    with pytest.raises(TmrlError, match="release it first"):
        run.core.resume()
    run.core.emergency_stop(False)
    assert run.core.status().mode == Mode.FAULT
    run.core.resume()
    assert not run.core.status().reason


def test_a_hand_that_does_not_move_holds_after_two_seconds():
    run = session(forward, task={"episode_s": 20.0})
    run.run(until=in_episode)
    for _ in range(60):
        run.width_m = 0.08  # whatever is wanted
        run.tick()
    status = run.core.status()
    assert status.mode == Mode.HOLD and status.reason == "the hand is stuck: 80 mm wide for 2 s, wanted 0 mm"
    (ended,) = run.ends()
    assert ended["counted"] if isinstance(ended, dict) else ended.counted


def asked(**values):
    made = session(placing="operator", episodes=1, **values)
    return made.run(until=lambda s: s.core.asks)


def test_a_person_who_places_the_objects_is_asked_and_may_take_their_time():
    made = asked()
    status = made.core.status()
    assert status.mode == Mode.RESET and "put the objects back" in status.reason and not made.resets
    made.run(60.0)
    assert made.core.asks and made.core.holds == 0, "no reset fails while a person is at work"
    made.core.objects_placed()
    assert not made.core.status().reason
    made.run(until=lambda s: s.core.arbiter.mode == Mode.POLICY)
    assert made.core.robot_time_s > 60.0, "their time is robot time"


def test_objects_that_nobody_asked_for_cannot_be_confirmed():
    made = session(placing="operator")
    with pytest.raises(TmrlError, match="no reset waits for objects"):
        made.core.objects_placed()
    assert not session().run(2.0).core.asks


def test_without_anyone_to_place_them_objects_stay_where_they_are():
    made = session(placing="nobody", episodes=2).run()
    assert not made.resets and made.core.status().episodes == 2


def test_where_a_person_judges_no_source_is_needed_and_keep_is_success():
    made = session(judge="operator", episodes=1)
    made.success = lambda standin: True  # what a source would say counts for nothing
    made.teleop = lambda stamp_ns: wish(stamp_ns, clutch=False)
    made.run(until=lambda s: s.of(Decision))
    made.teleop = lambda stamp_ns: wish(stamp_ns, clutch=False, keep=True)
    made.run()
    (end,) = made.ends()
    assert end.success and end.counted and end.reason == "kept"


def test_a_force_spike_in_a_reset_holds_too():
    run = session(forward, task={"reset_s": 3.0}).run(until=lambda s: s.modes and s.modes[-1] == Mode.RESET)
    run.force_n = np.array([0, 0, 60.0])
    run.run(0.2)
    status = run.core.status()
    assert status.mode == Mode.HOLD and "external force of 60 N" in status.reason


def test_a_reset_brings_an_arm_back_that_was_measured_outside_the_box():
    run = session(forward, task={"reset_s": 3.0}).run(until=lambda s: s.modes and s.modes[-1] == Mode.RESET)
    run.core.config = run.core.config.model_copy(
        update={"limits": run.core.config.limits.model_copy(update={"workspace_min_m": (0.5, -0.35, 0.012)})}
    )
    run.run(0.2)
    assert run.core.status().mode == Mode.RESET


def restarted(drifts_rad_s):
    """A session whose joint states were gone for 5 s: the arm is elsewhere, and then drifts at so many speeds."""
    run = session(forward, timing=REAL).run(0.2)
    run.q, run.stamp_ns = run.q + np.array([0.12, 0, 0, 0, 0, 0, 0]), run.stamp_ns + 5_000_000_000
    offs = []
    for drift in drifts_rad_s:
        run.dq = np.array([drift, 0, 0, 0, 0, 0, 0])
        run.q = run.q + np.array([0.01 if drift else 0.0, 0, 0, 0, 0, 0, 0])
        before = run.q
        run.tick()
        offs.append(np.abs(run.windows[-1].q[0] - before).max())
        run.q = before
    return run, offs


@pytest.mark.parametrize("drifts", [(0, 0), (0.02, 0), (0.3, 0.2, 0.02, 0, 0)])
def test_after_a_long_silence_the_command_is_where_the_arm_is_until_it_stands(drifts):
    run, offs = restarted(drifts)
    assert max(offs) < 1e-12 and run.core.status().mode == Mode.HOLD and "jumped" in run.core.status().reason
    run.core.resume()


def test_an_arm_that_drifts_after_a_long_silence_is_not_resumed():
    run, _ = restarted((0.3, 0.2))
    with pytest.raises(TmrlError, match="still moving"):
        run.core.resume()
    run.dq = np.zeros(7)
    run.tick()
    run.core.resume()


def test_a_driver_that_repeats_itself_while_the_arm_is_to_move_is_a_fault():
    run = session(forward, timing=REAL, episodes=100).run(until=lambda s: np.abs(s.dq).max() > 0.05)
    q, dq = run.q, run.dq
    for _ in range(8):
        run.q, run.dq = q, dq
        run.tick()
    status = run.core.status()
    assert status.mode == Mode.FAULT and "repeat themselves" in status.reason


def test_where_a_person_judges_the_last_episode_may_be_labelled_until_they_have_put_the_objects_back():
    run = session(episodes=2, judge="operator", placing="operator", task={"reset_s": 0.5, "episode_s": 1.0})
    placed = 0
    while placed < 3:
        run.run(until=lambda s: s.core.asks)
        if placed:
            run.core.label(placed - 1, True)
        run.core.objects_placed()
        placed += 1
        run.run(0.1)
    run.run(2.0)
    status = run.core.status()
    assert (status.state, status.episodes, status.successes) == (SessionState.ENDED, 2, 2)
