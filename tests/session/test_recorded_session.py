"""A recorded session replayed: chunks bit for bit, transitions as the learner's own; and a change anywhere is seen."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.parameters import write_parameters
from tmrl_ros.session import replay
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import EMPTY, Decision, Mode, Modulation, Observation

PATIENCE_S = 60.0
MINUTES = 0.9


@pytest.fixture(scope="module")
def recording(finetuning, tmp_path_factory) -> replay.Recording:
    folder = tmp_path_factory.mktemp("recorded")
    assert run_session(finetuning(folder, PATIENCE_S, minutes=MINUTES), folder) == 0
    return replay.Recording.of(folder / "bag")


def test_a_recorded_session_comes_out_the_same(recording):
    comparison = replay.compare(recording)
    assert comparison.equal == comparison.chunks > 10
    assert comparison.transitions_equal and comparison.same
    assert comparison.chunks / 2 <= comparison.transitions <= comparison.chunks  # one that a hold cuts makes none
    assert comparison.transitions - 1 <= comparison.learner_rows <= comparison.transitions
    versions = {chunk.actor_version for chunk in replay.recorded.chunks(recording.bag)}
    assert len(versions) > 3, "the session is not worth comparing"


def test_other_bounds_of_the_modulation_are_seen_in_the_chunks(recording):
    bounds = recording.policy.modulation.model_copy(update={"sigma_max": 0.2})
    comparison = replay.compare(replace(recording, policy=recording.policy.model_copy(update={"modulation": bounds})))
    assert comparison.equal < comparison.chunks and not comparison.same
    assert "chunks differ, first that of decision 0" in " ".join(comparison.notes)
    assert comparison.transitions_equal


def test_another_schedule_of_actors_is_seen(recording):
    versions = recording.policy.versions.model_copy(update={"lag": 8})
    other = replace(recording, policy=recording.policy.model_copy(update={"versions": versions}))
    assert "another actor version than the one due" in " ".join(replay.compare(other).notes)


@pytest.fixture
def altered(recording, monkeypatch):
    """altered(change): what comes of the comparison if `change` is done to the list of recorded records."""

    def compare(change):
        (records,) = replay.recorded.stretches(recording.bag)
        change(records)
        monkeypatch.setattr(replay.recorded, "stretches", lambda bag: [records])
        return replay.compare(recording)

    return compare


def decided(records) -> int:
    """Place of the observation of the third decision."""
    stamps = [record.stamp_ns for record in records if isinstance(record, Decision)]
    return next(k for k, r in enumerate(records) if isinstance(r, Observation) and r.stamp_ns == stamps[2])


def test_one_bit_of_one_observation_is_seen_by_policy_and_learner(altered):
    def nudge(records):
        k = decided(records)
        state = records[k].state.copy()
        state[0] = np.nextafter(state[0], np.float32(9))
        state[4] = np.nextafter(state[4], np.float32(9))
        records[k] = replace(records[k], state=state)

    comparison = altered(nudge)
    assert comparison.equal == comparison.chunks - 1
    assert not comparison.transitions_equal
    assert "differs from that rebuilt from the bag" in " ".join(comparison.notes)


def test_a_lost_observation_is_said(altered):
    comparison = altered(lambda records: records.pop(decided(records)))
    assert comparison.equal == comparison.chunks - 1
    assert "decision 2: its observation or episode is not in the bag" in comparison.notes
    assert "made no transition: observation missing" in " ".join(comparison.notes)


def test_the_command_says_what_it_found(recording, tmrl, monkeypatch, tmp_path):
    status, out, _ = tmrl("replay", recording.bag)
    assert status == 0 and "action chunks are bit for bit as recorded" in out
    assert tmrl("replay", tmp_path / "nowhere")[0] == 2
    status, _, err = tmrl("replay", recording.bag, "--base", tmp_path)
    assert status == 2 and "no checkpoint here" in err
    monkeypatch.setattr(replay.Comparison, "same", False)
    assert tmrl("replay", recording.bag)[0] == 1


def test_a_bag_alone_has_all_that_its_chunks_need(recording, tmrl, tmp_path):
    shutil.copytree(recording.bag, tmp_path / "copy")
    status, out, _ = tmrl("replay", tmp_path / "copy")
    assert status == 0 and "action chunks are bit for bit as recorded" in out


def test_a_bag_with_nothing_to_compare_is_refused(tmrl, tmp_path):
    with BagWriter(tmp_path / "bag"):
        pass
    status, _, err = tmrl("replay", tmp_path / "bag")
    assert status == 2 and "has no parameters.yaml" in err
    write_parameters(tmp_path / "parameters.yaml", {})
    status, _, err = tmrl("replay", tmp_path / "bag")
    assert status == 2 and "holds no action chunk and no transition" in err


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(0, 300))
def test_a_shuffle_keeps_each_stream_in_order_and_loses_nothing(seed, count):
    records = [record for tick in range(count) for record in (observation(tick), decision(tick))]
    out = replay.shuffled(records, seed)
    for kind in (Observation, Decision):
        assert [id(r) for r in out if isinstance(r, kind)] == [id(r) for r in records if isinstance(r, kind)]
    assert len(out) == len(records)
    if count >= 200:
        assert [id(r) for r in out] != [id(r) for r in records]


def observation(tick: int) -> Observation:
    return Observation(tick * 10**9, np.zeros(1, np.float32))


def decision(tick: int) -> Decision:
    return Decision(tick * 10**9, (tick + 1) * 10**9, 0, tick, Mode.POLICY, np.zeros((1, 4), np.float32),
                    Modulation(EMPTY), 0, -1.0, False, False, False, False, 0.0)  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (observation(1), observation(1), True),
        (observation(1), observation(2), False),
        (0.0, -0.0, False),
        (float("nan"), float("nan"), True),
        (1, True, False),
        (np.zeros(2, np.float32), np.zeros(2, np.float64), False),
        (np.zeros((2, 1)), np.zeros((1, 2)), False),
        ({"a": [1.0]}, {"a": [1.0]}, True),
        ({"a": [1.0]}, {"b": [1.0]}, False),
        ([1, 2], [1, 2, 3], False),
    ],
)
def test_identical_means_the_same_bits(a, b, same):
    assert replay.identical(a, b) is same
