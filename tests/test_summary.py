"""summary.json: intervals, minutes to a success rate, and the row files it is made from."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.errors import DataError
from tmrl_ros.session import plots, runlog, summary
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Modulation


def events(successes, greedy=False, counted=True):
    """Episodes that end ten robot seconds after one another, of four decisions each."""
    return [
        EpisodeEvent(k, k, "ended", Mode.POLICY, greedy, bool(s), counted, 4, "time", 10.0 * (k + 1))
        for k, s in enumerate(successes)
    ]


def test_wilson_intervals_match_published_values():
    interval = summary.wilson(8, 10)
    assert interval["low"] == pytest.approx(0.490, abs=1e-3) and interval["high"] == pytest.approx(0.943, abs=1e-3)
    assert summary.wilson(0, 100)["high"] == pytest.approx(0.037, abs=1e-3)
    assert summary.wilson(100, 100)["low"] == pytest.approx(0.963, abs=1e-3)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_rate_and_stays_within_zero_and_one(counts):
    interval = summary.wilson(*counts)
    assert 0 <= interval["low"] <= interval["value"] + 1e-12 and interval["value"] - 1e-12 <= interval["high"] <= 1


def test_minutes_count_from_the_first_full_window_that_reaches_the_rate():
    history = events([0] * 10 + [1] * 30)
    assert summary.minutes_to(history, 0.8) == pytest.approx(26 * 10 / 60)  # episodes 6..25: four failures
    assert summary.minutes_to(history, 0.95) == pytest.approx(29 * 10 / 60)
    assert summary.minutes_to(events([1] * 19), 0.8) is None
    assert summary.minutes_to(events([0, 1] * 40), 0.8) is None


def test_discarded_episodes_do_not_count_and_labels_overrule():
    history = events([0, 1, 1, 0])
    history[3] = dataclasses.replace(history[3], counted=False, reason="discarded")
    label = dataclasses.replace(history[2], kind="labelled", success=False, robot_time_s=99.0)
    assert summary.success([*history, label]) == summary.wilson(1, 3)
    assert [event.robot_time_s for event in summary.outcomes([*history, label])] == [10.0, 20.0, 30.0]


@pytest.fixture(params=["time", "success", "kept", "the arm was held"])
def helped_history(request):
    """A policy that fails every other time; a person takes over each that would fail."""
    history = events([1, 0] * 30)
    for k in range(1, 60, 2):
        good = request.param in ("success", "kept")
        history[k] = dataclasses.replace(history[k], counted=False, reason=request.param, success=good)
    return history


def test_help_does_not_flatter_a_policy_that_would_have_failed(helped_history):
    assert summary.minutes_to(helped_history, 0.8) is None
    assert summary.success(helped_history) == summary.wilson(30, 60) and summary.helped(helped_history) == 30
    assert [success for _, success in summary.curve(helped_history)] == [True, False] * 30
    assert plots.rolling_success(helped_history)[1][-1, 0] == 0.5


def test_a_label_cannot_make_an_episode_with_help_a_success_and_a_cut_one_stays_out(helped_history):
    label = dataclasses.replace(helped_history[1], kind="labelled", success=True, robot_time_s=999.0)
    cut = dataclasses.replace(helped_history[3], episode=60, reason="session")
    assert summary.outcomes([*helped_history, label, cut]) == summary.outcomes(helped_history)


def test_a_summary_has_every_figure_and_is_json(tmp_path):
    made = summary.summarise(
        task="pick_cube", method="tmrl", seed=3, demos=80, base=events([0] * 10), training=events([0] * 20 + [1] * 40),
        final=events([1] * 10), updates=900, wall_s={"finetune": 30.0, "setup": 5.0}, revision="abc",
    )  # fmt: skip
    summary.write(tmp_path, made)
    assert summary.read(tmp_path) == made
    assert made["base_success"]["value"] == 0 and made["final_success"]["n"] == 10
    assert made["robot_minutes"] == 10 and made["real_time_factor"] == 20 and made["decisions"] == 240
    assert made["robot_minutes_to_80"] == pytest.approx(6.0) and made["episodes"] == 60


def test_a_run_without_training_gives_nulls_rather_than_an_error():
    made = summary.summarise(
        task="t", method="base", seed=0, demos=0, base=[], training=[], final=[], updates=0, wall_s={}, revision=""
    )
    assert made["robot_minutes_to_80"] is None and made["base_success"]["value"] is None
    assert made["real_time_factor"] is None and json.dumps(made)


def test_a_missing_or_damaged_summary_is_named(tmp_path):
    with pytest.raises(DataError, match=r"summary\.json does not exist"):
        summary.read(tmp_path)
    (tmp_path / "summary.json").write_text('{"task": ')
    with pytest.raises(DataError, match="damaged"):
        summary.read(tmp_path)


def test_records_are_logged_by_phase_and_read_back(tmp_path):
    decision = Decision(
        1, 2, 0, 7, Mode.POLICY, np.zeros((8, 4), np.float32), Modulation(np.ones(4, np.float32), 0.25), 6,
        -1.0, False, True, False, True, 3.5,
    )  # fmt: skip
    started = dataclasses.replace(events([0])[0], kind="started")
    runlog.log_records(tmp_path, "base", events([0]))
    runlog.log_records(tmp_path, "base", [started, *events([1, 0])])  # run again: replaces the first
    runlog.log_records(tmp_path, "finetune", [decision, *events([1])])
    assert runlog.episode_events(tmp_path, "base") == events([1, 0])
    assert runlog.episode_events(tmp_path, "finetune") == events([1])
    (row,) = runlog.read(tmp_path / runlog.DECISIONS)
    assert (row["phase"], row["decision"], row["sigma"], row["rows"], row["z"]) == ("finetune", 7, 0.25, 8, [1.0] * 4)


def test_a_damaged_row_is_named_by_its_line(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a"\n')
    with pytest.raises(DataError, match="line 2"):
        list(runlog.read(tmp_path / "x.jsonl"))


def test_the_revision_outside_of_git_is_unknown(tmp_path):
    assert summary.git_revision(tmp_path) == "unknown"
