"""What cameras showed at the rows of demonstrations, and that stores keep it."""

from dataclasses import replace

import numpy as np
import pytest

from tmrl_ros.data import edit, store
from tmrl_ros.data.assembler import DemoEpisode
from tmrl_ros.data.seen import seen_at_rows
from tmrl_ros.errors import DataError
from tmrl_ros.types import Observation

META = store.StoreMeta(
    task="t", seed=0, calibration="x", state_names=["a"], action_names=["x", "grip"], action_hz=10
)  # fmt: skip
PERIOD_NS = 100_000_000


def seen(row, cloud=True, image=True):
    images = {"front": np.full((4, 5, 3), row, np.uint8)} if image else {}
    return Observation(row * PERIOD_NS, np.float32([row]), images, np.full((6, 3), row, np.float32) if cloud else None)


def kept(**kinds):
    """Episodes 0 (rows 1 to 5) and 2 (rows 20 to 22)."""
    return [
        DemoEpisode(number, tuple(seen(row, **kinds) for row in rows), np.zeros((len(rows), 2), np.float32))
        for number, rows in ((0, range(1, 6)), (2, range(20, 23)))
    ]


KEPT = kept()
ROWS = [1, 2, 3, 4, 5, 20, 21, 22]


def demonstrations():
    images, clouds = seen_at_rows(KEPT)
    return store.collect([(episode.states, episode.actions) for episode in KEPT], META, images, clouds)


def test_each_row_has_what_was_seen_when_it_began():
    images, clouds = seen_at_rows(KEPT)
    assert clouds[:, 0, 0].tolist() == images["front"][:, 0, 0, 0].tolist() == ROWS
    images, clouds = seen_at_rows(kept(cloud=False))
    assert clouds is None and len(images["front"]) == len(ROWS)
    assert seen_at_rows(kept(cloud=False, image=False)) == ({}, None)


def test_an_observation_that_lacks_what_others_have_is_refused():
    with pytest.raises(DataError, match="do not all have the same images and clouds"):
        seen_at_rows([*KEPT, *kept(cloud=False)])


def test_a_store_gives_clouds_and_images_back_and_names_them_as_inputs(tmp_path):
    store.write(tmp_path / "demos.zarr", demonstrations())
    back = store.read(tmp_path / "demos.zarr")
    inputs = back.inputs()
    assert list(inputs) == ["state", "cloud", "front"]
    assert all(len(values) == len(ROWS) for values in inputs.values())
    assert inputs["cloud"].dtype == np.float32 and inputs["cloud"][:, 0, 0].tolist() == ROWS
    assert back.inputs(slice(None, None, 4))["front"][:, 0, 0, 0].tolist() == [1, 5]


def test_a_changed_point_is_damage(tmp_path):
    whole = demonstrations()
    store.write(tmp_path / "demos.zarr", whole)
    changed = whole.clouds.copy()
    changed[2, 1, 0] += 1e-3
    store.write(tmp_path / "other.zarr", replace(whole, clouds=changed))
    (tmp_path / "demos.zarr/zarr.json").write_bytes((tmp_path / "other.zarr/zarr.json").read_bytes())
    with pytest.raises(DataError, match="does not match its sha256"):
        store.read(tmp_path / "demos.zarr")


@pytest.mark.parametrize(
    ("clouds", "why"),
    [(np.zeros((3, 6, 3)), "not"), (np.zeros((8, 6, 4)), "not"), (np.full((8, 6, 3), np.nan), "a point is not finite")],
)
def test_clouds_that_do_not_fit_are_refused(clouds, why):
    with pytest.raises(DataError, match=why):
        store.collect([(episode.states, episode.actions) for episode in KEPT], META, clouds=clouds)


def test_edits_keep_the_clouds_of_their_rows():
    whole = demonstrations()
    assert edit.trim(whole, head_rows=1).clouds[:, 0, 0].tolist() == [2, 3, 4, 5, 21, 22]
    assert edit.merge([whole, whole]).clouds[:, 0, 0].tolist() == ROWS * 2
    with pytest.raises(DataError, match="clouds are"):
        edit.merge([whole, replace(whole, clouds=None)])
