"""Stores whose images were shrunk: small, near what they were, and as strict about damage as others."""

import numpy as np
import pytest
import zarr

from tmrl_ros.data import edit, images, store, webp
from tmrl_ros.errors import DataError

ROWS, HEIGHT, WIDTH = 30, 48, 64
META = store.StoreMeta(
    task="pick_cube", seed=0, calibration="true", state_names=["s"], action_names=["a", "grip"], action_hz=10
)


def scene(rows=ROWS):
    """A bright square that wanders over a gradient, with noise of two counts: uint8 [rows, 48, 64, 3]."""
    rng = np.random.default_rng(0)
    out = np.zeros((rows, HEIGHT, WIDTH, 3)) + np.linspace(40, 160, WIDTH)[:, None]
    for row in range(rows):
        out[row, 10:22, row : row + 12] = (220, 60, 40)
    return (out + rng.normal(0, 2, out.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def exact():
    pair = np.zeros((ROWS, 1), np.float32), np.zeros((ROWS, 2), np.float32)
    return store.collect([pair], META, {"front": scene()})


@pytest.fixture
def path(tmp_path, exact, monkeypatch):
    monkeypatch.setattr(images, "FILE_BYTES", 8 * HEIGHT * WIDTH * 3)  # several files
    store.write(tmp_path / "shrunk", edit.shrunk(exact, 85), 85)
    return tmp_path / "shrunk"


def test_images_come_back_near_what_they_were_in_a_tenth_of_the_space(path, exact, tmp_path):
    store.write(tmp_path / "exact", exact)
    back = store.read(path)
    rows = np.random.default_rng(1).permutation(ROWS)
    off = back.images["front"][rows].astype(float) - exact.images["front"][rows]
    assert np.sqrt(np.square(off).mean()) < 6

    def size(folder):
        return sum(file.stat().st_size for file in (folder / "observation/images").rglob("*") if file.is_file())

    assert size(path) < size(tmp_path / "exact") / 8
    assert back.meta.config["edits"] == ["images shrunk to WebP of quality 85"]
    store.verify_images(back)


def test_zarr_itself_reads_the_same_images(path):
    array = zarr.open_group(path, mode="r")["observation/images/front"]
    np.testing.assert_array_equal(array[:], store.read(path).images["front"][:])


def test_other_edits_keep_the_pixels_that_are_there(path, tmp_path):
    back = store.read(path)
    store.write(tmp_path / "trimmed", edit.trim(back, head_rows=2))
    trimmed = store.read(tmp_path / "trimmed").images["front"]
    np.testing.assert_array_equal(trimmed[:], back.images["front"][np.arange(2, ROWS)])


def test_a_flipped_bit_is_never_read_as_an_image(path):
    rng, files = np.random.default_rng(0), sorted((path / "observation/images/front/c").rglob("0"))
    good = store.read(path).images["front"][:]
    for file in [file for file in files if file.is_file()]:
        whole = file.read_bytes()
        for _ in range(20):
            bad = bytearray(whole)
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
            file.write_bytes(bad)
            try:
                np.testing.assert_array_equal(store.read(path).images["front"][:], good)
            except DataError as error:
                assert "damaged" in str(error)
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: packed[:40],
        lambda packed: b"",
        lambda packed: b"\x89PNG" + packed[4:],
        lambda packed: packed[:26] + b"\xff\x3f\xff\x3f" + packed[30:],  # says it is 16383 px wide and high
    ],
)
def test_what_is_no_image_of_this_size_is_refused_before_it_is_decoded(spoil):
    image = scene(1)[0]
    packed = webp.pack(image, 85)
    assert webp.unpack(packed, image.shape).shape == image.shape
    with pytest.raises(ValueError, match="WebP"):
        webp.unpack(spoil(packed), image.shape)


def test_a_store_without_images_cannot_be_shrunk(exact):
    with pytest.raises(DataError, match="no images to shrink"):
        edit.shrunk(store.Demonstrations(exact.states, exact.actions, exact.ends, META), 85)
