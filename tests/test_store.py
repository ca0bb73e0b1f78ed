"""The demonstration store: what is written is read back, and a damaged or missing store is one sentence."""

import json
import os

import numpy as np
import pytest

from tmrl_ros.data import store
from tmrl_ros.errors import DataError

META = store.StoreMeta(
    task="pick_cube", seed=3, calibration="true", state_names=["x m", "y m"], action_names=["dx", "grip"], action_hz=10
)


def episodes():
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(n, 2)), rng.normal(size=(n, 2))) for n in (5, 1, 7)]


def test_a_store_without_images_has_the_digest_it_always_had(tmp_path):
    pairs = [(np.arange(6.0).reshape(3, 2), np.ones((3, 2)))]
    store.write(tmp_path / "old.zarr", store.collect(pairs, META))
    told = json.loads((tmp_path / "old.zarr/zarr.json").read_bytes())["attributes"]
    assert told["sha256"] == "b91fb5be5a52444a7028074d95bcc4d48e6f1042cac0e16e39d61d830c3d8475"
    assert not store.read(tmp_path / "old.zarr").images


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "demos.zarr"
    store.write(path, store.collect(episodes(), META))
    return path


def test_a_store_reads_back_what_was_written(written):
    content = store.read(written)
    np.testing.assert_array_equal(content.ends, [5, 6, 13])
    np.testing.assert_array_equal(content.states[5:6], episodes()[1][0].astype(np.float32))
    assert content.meta == META and content.actions.dtype == np.float32


def test_an_existing_store_is_never_overwritten(written):
    with pytest.raises(DataError, match="already exists"):
        store.write(written, store.collect(episodes(), META))


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.zarr is not a demonstration store"):
        store.read(tmp_path / "nothing.zarr")


def every_file(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refused(path, truth) -> bool:
    """Whether reading is refused in one sentence naming the store; if it is not, the content must be the truth."""
    try:
        content = store.read(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    np.testing.assert_array_equal(content.states, truth.states)
    np.testing.assert_array_equal(content.actions, truth.actions)
    np.testing.assert_array_equal(content.ends, truth.ends)
    assert content.meta == truth.meta
    return False


def test_a_store_cut_short_or_with_a_file_lost_is_refused(written):
    truth = store.read(written)
    for path in every_file(written):
        whole = path.read_bytes()
        for cut in (None, whole[: len(whole) // 2], b""):
            path.unlink() if cut is None else path.write_bytes(cut)
            redundant = path.parent.name == "observation" and path.name == "zarr.json"  # an empty group's description
            assert refused(written, truth) or redundant
            path.write_bytes(whole)
    assert not refused(written, truth)


def test_a_flipped_bit_is_never_read_as_data(written):
    truth, rng, count = store.read(written), np.random.default_rng(1), 0
    for path in every_file(written):
        whole = path.read_bytes()
        for position in rng.choice(len(whole), min(len(whole), 25), replace=False):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            count += refused(written, truth)
        path.write_bytes(whole)
    assert count > 80


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        store.write(tmp_path / "demos.zarr", store.collect(episodes(), META))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ([], "No episode was kept"),
        ([(np.zeros((3, 2)), np.zeros((2, 2)))], "same rows"),
        ([(np.zeros((3, 4)), np.zeros((3, 2)))], "do not match their names"),
        ([(np.zeros((0, 2)), np.zeros((0, 2)))], "no rows"),
        ([(np.full((3, 2), np.nan), np.zeros((3, 2)))], "not finite"),
    ],
)
def test_demonstrations_that_do_not_fit_are_refused(broken, sentence):
    with pytest.raises(DataError, match=sentence):
        store.collect(broken, META)


def test_a_chunk_past_the_end_of_its_episode_stands_still_with_the_last_grip():
    pairs = [(np.zeros((2, 2)), np.array([[1.0, -1.0], [2.0, 1.0]])), (np.ones((3, 2)), np.full((3, 2), 5.0))]
    states, chunk = store.chunks(store.collect(pairs, META), 4)
    assert states.shape == (5, 2) and chunk.shape == (5, 4, 2) and chunk.dtype == np.float32
    np.testing.assert_array_equal(chunk[0], [[1, -1], [2, 1], [0, 1], [0, 1]])
    np.testing.assert_array_equal(chunk[1], [[2, 1], [0, 1], [0, 1], [0, 1]])
    np.testing.assert_array_equal(chunk[2], [[5, 5], [5, 5], [5, 5], [0, 5]])
