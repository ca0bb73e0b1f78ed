"""Import of robomimic's HDF5: every row in the order of the demonstrations' numbers; bad input is named."""

import json

import h5py
import numpy as np
import pytest

from tmrl_ros.data import robomimic, store
from tmrl_ros.data.exchange import Wanted
from tmrl_ros.errors import DataError

LENGTHS = {2: 4, 10: 3, 1: 5}  # by number: as text, demo_10 comes before demo_2
ORDER = (1, 2, 10)
WANTED = Wanted(("robot0_eef_pos", "gripper"), {"agentview_image": "front"})


def demo(number: int) -> dict[str, np.ndarray]:
    rng, rows = np.random.default_rng(number), LENGTHS[number]
    return {
        "obs/robot0_eef_pos": rng.normal(size=(rows, 3)),
        "obs/gripper": rng.normal(size=rows),
        "obs/agentview_image": rng.integers(0, 256, (rows, 6, 8, 3)).astype(np.uint8),
        "obs/wrong_image": rng.normal(size=(rows, 6, 8, 3)),
        "next_obs/gripper": rng.normal(size=rows),
        "actions": rng.normal(size=(rows, 7)),
    }


def together(key: str) -> np.ndarray:
    return np.concatenate([demo(number)[key] for number in ORDER])


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "lift.hdf5", "w") as file:
        told = {"env_name": "Lift", "env_kwargs": {"control_freq": 20}}
        file.create_group("data").attrs["env_args"] = json.dumps(told)
        for number in LENGTHS:
            for key, values in demo(number).items():
                file[f"data/demo_{number}/{key}"] = values
        file["mask/train"] = np.array([b"demo_1"])
    return tmp_path / "lift.hdf5"


def test_every_row_arrives_in_the_order_of_the_numbers(path, tmp_path):
    store.write(tmp_path / "lift.zarr", robomimic.read(path, WANTED))
    content = store.read(tmp_path / "lift.zarr")
    np.testing.assert_array_equal(content.ends, [5, 9, 12])
    state = np.column_stack([together("obs/robot0_eef_pos"), together("obs/gripper")])
    np.testing.assert_array_equal(content.states, state.astype(np.float32))
    np.testing.assert_array_equal(content.actions, together("actions").astype(np.float32))
    np.testing.assert_array_equal(content.images["front"][:], together("obs/agentview_image"))


def test_what_the_file_says_is_kept_unless_it_is_given(path):
    meta = robomimic.read(path, WANTED).meta
    assert (meta.task, meta.action_hz, meta.calibration) == ("Lift", 20, "unknown")
    assert meta.state_names == ["robot0_eef_pos_0", "robot0_eef_pos_1", "robot0_eef_pos_2", "gripper"]
    assert meta.action_names == [f"action_{k}" for k in range(7)]
    given = robomimic.read(path, Wanted(("gripper",), task="pick_cube", action_hz=10, calibration="cell 4"))
    assert (given.meta.task, given.meta.action_hz, given.meta.calibration) == ("pick_cube", 10, "cell 4")
    assert not given.images


def test_images_are_read_in_any_order(path):
    images = robomimic.read(path, WANTED).images["front"]
    rows = np.array([11, 4, 4, 0, 6, 8])
    np.testing.assert_array_equal(images[rows], together("obs/agentview_image")[rows])


def change(path, key, values=None) -> None:
    with h5py.File(path, "a") as file:
        del file[key]
        if values is not None:
            file[key] = values


@pytest.mark.parametrize(
    ("damage", "wanted", "sentence"),
    [
        (None, Wanted(), "demo_1 does not say what is the state; choose keys: gripper, robot0_eef_pos"),
        (None, Wanted(WANTED.state, only="Stack"), "is of one task, so 'Stack' cannot be chosen"),
        (None, Wanted(("pose",)), "no key in .*demo_1/obs 'pose'; valid: .*'robot0_eef_pos'"),
        (None, Wanted(("agentview_image",)), r"demo_1/obs/agentview_image is uint8 \[5, 6, 8, 3\], not numbers"),
        (None, Wanted(("gripper",), {"wrong_image": "a"}), r"wrong_image is float64 .*, not images uint8 \[5 rows"),
        (("data/demo_2/actions", None), WANTED, "no array in .*demo_2 'actions'; valid: 'next_obs', 'obs'"),
        (("data/demo_2/obs/gripper", np.zeros(3)), WANTED, r"demo_2/obs/gripper is .*, not numbers \[4 rows"),
        (("data/demo_2/obs/gripper", np.full(4, np.nan)), WANTED, "not finite"),
        (("data/demo_2/actions", np.zeros((4, 6))), WANTED, r"differ in their .*columns: \[\(4, 6\), \(4, 7\)\]"),
        (("data/demo_2/obs/agentview_image", np.zeros((4, 9, 9, 3), np.uint8)), WANTED, "have several sizes"),
        (("data", None), WANTED, "has no data/demo_<number>.*it has: mask"),
    ],
)
def test_bad_input_is_named(path, damage, wanted, sentence):
    if damage:
        change(path, *damage)
    with pytest.raises(DataError, match=sentence) as refused:
        robomimic.read(path, wanted)
    assert "\n" not in str(refused.value)


def test_a_file_that_does_not_say_its_rate_asks_for_it(path):
    with h5py.File(path, "a") as file:
        del file["data"].attrs["env_args"]
    with pytest.raises(DataError, match=r"rows a second; .*--hz"):
        robomimic.read(path, WANTED)
    assert robomimic.read(path, Wanted(WANTED.state, action_hz=20)).meta.task == "lift"


def test_what_is_no_hdf5_and_what_was_cut_short_is_one_sentence(path, tmp_path):
    whole = path.read_bytes()
    for content in (b"no such thing", whole[:900], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"lift.hdf5") as refused:
            store.write(tmp_path / "new.zarr", robomimic.read(path, WANTED))
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "new.zarr").exists()
