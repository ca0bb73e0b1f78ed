"""Edits of demonstrations: no row is lost, doubled or moved to another episode, and what does not fit is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.data import edit, store
from tmrl_ros.errors import DataError

META = store.StoreMeta(
    task="pick_cube", seed=3, calibration="true", state_names=["x m", "y m"], action_names=["dx", "grip"], action_hz=10
)


def demonstrations(lengths, start=0, **meta) -> store.Demonstrations:
    """Every row a number of its own, so that a row that moves is seen."""
    pairs, row = [], start
    for rows in lengths:
        numbers = np.arange(row, row + rows, dtype=np.float32)
        pairs.append((np.stack([numbers, -numbers], 1), np.stack([numbers + 0.5, np.ones(rows)], 1)))
        row += rows
    return store.collect(pairs, META.model_copy(update=meta))


def lists(content) -> list[tuple[list, list]]:
    return [(states.tolist(), actions.tolist()) for states, actions in edit.episodes(content)]


lengths_st = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(max_examples=50)
@given(lengths_st)
def test_episodes_and_collect_are_each_others_inverse(lengths):
    content = demonstrations(lengths)
    again = store.collect(edit.episodes(content), content.meta)
    np.testing.assert_array_equal(again.ends, content.ends)
    np.testing.assert_array_equal(again.states, content.states)
    np.testing.assert_array_equal(again.actions, content.actions)


@settings(max_examples=50)
@given(st.lists(lengths_st, min_size=1, max_size=4))
def test_a_merge_holds_every_episode_of_every_part_in_order(parts):
    contents = [demonstrations(lengths, start=1000 * k) for k, lengths in enumerate(parts)]
    assert lists(edit.merge(contents)) == [episode for content in contents for episode in lists(content)]


@settings(max_examples=80)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_gives_each_episode_to_one_side_and_the_same_for_a_seed(lengths, share, seed):
    content = demonstrations(lengths)
    first, second = (lists(side) for side in edit.split(content, share, seed))
    assert sorted(first + second) == lists(content)  # rows are numbered, so sorting restores the order
    assert first == sorted(first) and second == sorted(second)
    assert abs(len(first) - share * len(lengths)) <= 1
    assert [lists(side) for side in edit.split(content, share, seed)] == [first, second]


@settings(max_examples=80)
@given(st.lists(st.integers(5, 9), min_size=2, max_size=8), st.integers(0, 2), st.integers(0, 2), st.data())
def test_a_trim_takes_rows_from_the_ends_of_each_kept_episode(lengths, head, tail, data):
    drop = data.draw(st.sets(st.integers(0, len(lengths) - 1), max_size=len(lengths) - 1))
    content = demonstrations(lengths)
    wanted = [
        tuple(rows[head : len(rows) - tail] for rows in pair) for k, pair in enumerate(lists(content)) if k not in drop
    ]
    assert lists(edit.trim(content, head, tail, drop)) == wanted


def test_edits_are_written_down_and_reach_the_disk(tmp_path):
    parts = edit.split(demonstrations([3, 4, 5]), 0.5)
    store.write(tmp_path / "whole.zarr", edit.trim(edit.merge(parts), head_rows=1))
    edits = store.read(tmp_path / "whole.zarr").meta.config["edits"]
    assert [sentence.split(" ")[0] for sentence in edits] == ["part", "part", "merged", "trimmed"]


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (lambda d: edit.merge([]), "No store"),
        (lambda d: edit.merge([d, d, demonstrations([2], task="push_cube")]), "1 and 3 .* 'pick_cube' and 'push_cube'"),
        (lambda d: edit.merge([d, demonstrations([2], action_hz=20)]), "action_hz is 10 and 20"),
        (lambda d: edit.merge([d, demonstrations([2], calibration="cell 4")]), "calibration"),
        (lambda d: edit.trim(d, drop=[2]), "no episode 2 .* 0 to 1"),
        (lambda d: edit.trim(d, drop=[0, 1]), "No episode was kept"),
        (lambda d: edit.trim(d, head_rows=2, tail_rows=1), "Episode 0 has 3 rows"),
        (lambda d: edit.trim(d, head_rows=-1), "give 0 or more"),
        (lambda d: edit.split(d, 1.0), "share between 0 and 1"),
        (lambda d: edit.split(demonstrations([4]), 0.5), "1 episodes cannot be split"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(work, sentence):
    with pytest.raises(DataError, match=sentence):
        work(demonstrations([3, 5]))
