"""Images in a store: every pixel comes back, only what is asked for is read, and damage is one sentence."""

import os
import shutil
import tracemalloc

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.data import edit, images, store
from tmrl_ros.data.batches import Batches
from tmrl_ros.errors import DataError

LENGTHS = (4, 1, 6)
ROWS = sum(LENGTHS)
META = store.StoreMeta(
    task="pick_cube", seed=3, calibration="true", state_names=["x m"], action_names=["dx", "grip"], action_hz=10
)


def seen(rows=ROWS, height=6, width=5, seed=0) -> np.ndarray:
    """Images with every kind of content: noise, one colour, a ramp."""
    pictures = np.random.default_rng(seed).integers(0, 256, (rows, height, width, 3)).astype(np.uint8)
    pictures[0] = 0
    pictures[1 % rows] = 255
    pictures[2 % rows] = np.arange(width, dtype=np.uint8)[None, :, None] * 50
    return pictures


def demonstrations(cameras=None, lengths=LENGTHS) -> store.Demonstrations:
    """Every row a number of its own."""
    numbers = np.split(np.arange(sum(lengths), dtype=np.float32)[:, None], np.cumsum(lengths)[:-1])
    pairs = [(rows, np.concatenate([rows + 0.5, np.ones_like(rows)], 1)) for rows in numbers]
    return store.collect(pairs, META, {"front": seen(sum(lengths))} if cameras is None else cameras)


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    """Four images a file, so that a store has several and the last is not full."""
    monkeypatch.setattr(images, "FILE_BYTES", 4 * 6 * 5 * 3)


@pytest.fixture
def path(tmp_path):
    store.write(tmp_path / "demos.zarr", demonstrations())
    return tmp_path / "demos.zarr"


def test_every_pixel_comes_back_in_any_order_and_number(path):
    found = store.read(path).images["front"]
    assert found.shape == (ROWS, 6, 5, 3) and found.dtype == np.uint8
    for rows in (np.arange(ROWS), np.array([10, 0, 3, 3, 7]), np.array([], int), slice(2, 9), slice(None, None, -1)):
        np.testing.assert_array_equal(found[rows], seen()[rows])


def test_zarr_itself_reads_the_same_images(path):
    array = zarr.open_group(path, mode="r")["observation/images/front"]
    np.testing.assert_array_equal(array[:], seen())
    assert array.chunks == (1, 6, 5, 3) and array.shards == (4, 6, 5, 3)


def test_a_row_that_is_not_there_is_refused(path):
    for rows in ([ROWS], [-1]):
        with pytest.raises(IndexError, match=f"of {ROWS} images"):
            store.read(path).images["front"][np.array(rows)]


def test_opening_a_store_opens_no_file_of_images_and_a_batch_opens_those_it_needs(path, monkeypatch):
    opened, really = [], os.open

    def watched(name, *rest, **more):
        opened.append(str(name))
        return really(name, *rest, **more)

    monkeypatch.setattr(os, "open", watched)
    content = store.read(path)
    Batches(content).rows(np.array([1, 2, 9]))
    assert sorted(name.split("/c/")[1] for name in opened if "observation/images" in name) == ["0/0/0/0", "2/0/0/0"]


def test_a_batch_takes_memory_for_itself_and_not_for_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "FILE_BYTES", 2**18)
    pictures = seen(600, 32, 32)
    store.write(tmp_path / "big.zarr", demonstrations({"front": pictures}, (300, 300)))
    batches = Batches(store.read(tmp_path / "big.zarr"))
    tracemalloc.start()
    batch = batches.sample(np.random.default_rng(0), 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch["front"].nbytes == 8 * 32 * 32 * 3
    assert peak < batch["front"].nbytes + 100_000 < pictures.nbytes / 10


def test_a_batch_has_states_chunks_and_images_of_its_rows(path):
    content = store.read(path)
    rows = np.array([10, 3, 4, 3])
    batch = Batches(content, action_horizon=3).rows(rows)
    np.testing.assert_array_equal(batch["state"][:, 0], rows)
    np.testing.assert_array_equal(batch["action_chunk"][:, :, 0], [[10.5, 0, 0], [3.5, 0, 0], [4.5, 0, 0], [3.5, 0, 0]])
    np.testing.assert_array_equal(batch["action_chunk"], store.chunks(content, 3)[1][rows])
    np.testing.assert_array_equal(batch["front"], seen()[rows])
    assert set(Batches(content, cameras=()).rows(rows)) == {"state", "action_chunk"}


def test_samples_reach_every_row_and_a_seed_gives_the_same(path):
    batches = Batches(store.read(path), cameras=())
    drawn = batches.sample(np.random.default_rng(0), 200)
    assert len(batches) == ROWS and set(drawn["state"][:, 0]) == set(range(ROWS))
    np.testing.assert_array_equal(batches.sample(np.random.default_rng(0), 200)["state"], drawn["state"])


def test_a_camera_that_is_not_there_is_named(path):
    with pytest.raises(DataError, match=r"no camera 'wrist'; it has: front"):
        Batches(store.read(path), cameras=["wrist"])


def every_file(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def refused(path) -> bool:
    """Whether the store is refused in one sentence naming it; if it is not, every pixel must be the truth."""
    try:
        content = store.read(path)
        store.verify_images(content)
        found = content.images["front"][:]
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    np.testing.assert_array_equal(found, seen())
    return False


def test_images_cut_short_or_lost_are_refused(path):
    for file in every_file(path):
        whole = file.read_bytes()
        for cut in (None, whole[: len(whole) // 2], b""):
            file.unlink() if cut is None else file.write_bytes(cut)
            redundant = file.name == "zarr.json" and file.parent.name in ("observation", "image_sha256", "images")
            assert refused(path) or redundant, file
            file.write_bytes(whole)
    assert not refused(path)


def test_a_flipped_bit_is_never_read_as_an_image(path):
    rng, count = np.random.default_rng(1), 0
    for file in every_file(path):
        whole = file.read_bytes()
        for position in rng.choice(len(whole), min(len(whole), 5), replace=False):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(flipped)
            count += refused(path)
        file.write_bytes(whole)
    assert count > 25


def test_images_of_another_store_are_not_taken_for_this_ones(path, tmp_path):
    store.write(tmp_path / "other.zarr", demonstrations({"front": seen(seed=1)}))
    file = "observation/images/front/c/0/0/0/0"
    (path / file).write_bytes((tmp_path / "other.zarr" / file).read_bytes())
    with pytest.raises(DataError, match=r"row \d+ does not match its sha256"):
        store.read(path).images["front"][[3]]
    for part in ("observation/images/front", "image_sha256/front"):
        shutil.rmtree(path / part)
        shutil.copytree(tmp_path / "other.zarr" / part, path / part)
    with pytest.raises(DataError, match="does not match its sha256"):
        store.read(path)


def test_cameras_that_were_removed_are_missed(path):
    shutil.rmtree(path / "observation/images")
    with pytest.raises(DataError, match="is damaged"):
        store.read(path)


@pytest.mark.parametrize(
    ("cameras", "sentence"),
    [
        ({"front": seen(ROWS - 1)}, "not \\[11 rows"),
        ({"front": seen()[..., :1]}, "not \\[11 rows"),
        ({"front": seen().astype(np.float32)}, "float32, not uint8"),
        ({"state": seen()}, "'state' is no name"),
        ({"../front": seen()}, "is no name for a camera"),
    ],
)
def test_images_that_do_not_fit_are_refused(cameras, sentence):
    with pytest.raises(DataError, match=sentence):
        demonstrations(cameras)


def test_a_store_whose_images_cannot_be_read_leaves_nothing_half_written(path, tmp_path):
    file = path / "observation/images/front/c/1/0/0/0"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match="front"):
        store.write(tmp_path / "copy.zarr", store.read(path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["demos.zarr"]


lengths_st = st.lists(st.integers(3, 6), min_size=2, max_size=6)


@settings(max_examples=40)
@given(lengths_st, st.integers(0, 1), st.integers(0, 1), st.data())
def test_edits_carry_each_rows_image_with_it(lengths, head, tail, data):
    pictures = seen(sum(lengths))
    content = demonstrations({"front": pictures}, lengths)
    drop = data.draw(st.sets(st.integers(0, len(lengths) - 1), max_size=len(lengths) - 1))
    for result in (edit.trim(content, head, tail, drop), *edit.split(content, 0.5), edit.merge([content, content])):
        numbers = result.states[:, 0].astype(int)  # of the row each came from
        np.testing.assert_array_equal(result.images["front"][:], pictures[numbers])


def test_edited_images_reach_the_disk(path, tmp_path):
    store.write(
        tmp_path / "short.zarr", edit.trim(edit.merge(edit.split(store.read(path), 0.5)), head_rows=0, drop=[0])
    )
    content = store.read(tmp_path / "short.zarr")
    store.verify_images(content)
    np.testing.assert_array_equal(content.images["front"][:], seen()[content.states[:, 0].astype(int)])


@pytest.mark.parametrize("other", [{}, {"wrist": seen()}, {"front": seen(width=4)}])
def test_stores_of_other_cameras_cannot_be_merged(other):
    with pytest.raises(DataError, match=r"Stores 1 and 2 cannot be merged: images are .*'front': '5x6'"):
        edit.merge([demonstrations(), demonstrations(other)])
