"""What the lerobot package itself makes of our exports, and we of what it writes; in an environment of its own.

Its requirements do not go with ours, so its interpreter is named by TMRL_LEROBOT_PYTHON; without it this is skipped:
    python3.11 -m venv lerobot && lerobot/bin/pip install lerobot==0.4.4
"""

import os
import subprocess

import numpy as np
import pytest

from tmrl_ros.data import lerobot_export, lerobot_import, store

PYTHON = os.environ.get("TMRL_LEROBOT_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="TMRL_LEROBOT_PYTHON names no interpreter with lerobot")

READ = """
import sys, numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("local/data", root=sys.argv[1], video_backend="pyav")
rows = [dataset[k] for k in range(len(dataset))]
arrays = {key: np.stack([row[key].numpy() for row in rows]) for key in rows[0] if key != "task"}
stats = {f"stats/{key}/{name}": value for key, of in dataset.meta.stats.items() for name, value in of.items()}
ends = [dataset.meta.episodes[k]["dataset_to_index"] for k in range(dataset.num_episodes)]
tasks = [row["task"] for row in rows]
names = dataset.features["action"]["names"]
np.savez(sys.argv[2], ends=ends, fps=dataset.fps, task=tasks, names=names, **arrays, **stats)
part = LeRobotDataset("local/data", root=sys.argv[1], episodes=[1], delta_timestamps={"action": [0, 1 / dataset.fps]},
                      video_backend="pyav")
assert part[0]["action"].shape[0] == 2 and part.num_episodes == 1
"""

WRITE = """
import sys, numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
given, kind = np.load(sys.argv[2]), sys.argv[3]
vector = lambda key: {"dtype": "float32", "shape": given[key].shape[1:], "names": None}
image = {"dtype": kind, "shape": given["images"].shape[1:], "names": ["height", "width", "channels"]}
features = {"observation.state": vector("states"), "action": vector("actions"), "observation.images.front": image}
dataset = LeRobotDataset.create("local/data", 10, features, root=sys.argv[1], use_videos=kind == "video")
start = 0
for end in given["ends"]:
    for k in range(start, end):
        dataset.add_frame({"observation.state": given["states"][k], "action": given["actions"][k],
                           "observation.images.front": given["images"][k], "task": "pick the cube"})
    dataset.save_episode()
    start = end
dataset.finalize()
"""


@pytest.fixture
def lerobot(tmp_path):
    """Runs a script in lerobot's environment, offline, with all its files below tmp_path."""

    def run(script, *arguments):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"),
                       "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
        command = [PYTHON, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]

    return run


def content() -> store.Demonstrations:
    """Three episodes; images that a video codec keeps well: ramps, whose brightness tells rows apart."""
    rng, lengths = np.random.default_rng(0), (6, 4, 9)
    meta = store.StoreMeta(
        task="pick_cube",
        seed=0,
        calibration="true",
        state_names=["x", "y", "z"],
        action_names=["dx", "grip"],
        action_hz=10,
    )
    ramp = np.linspace(0, 60, 96)[None, None, :, None] + np.zeros((1, 64, 1, 3))
    images = (ramp + 9 * np.arange(sum(lengths))[:, None, None, None]).astype(np.uint8)
    return store.collect([(rng.normal(size=(n, 3)), rng.normal(size=(n, 2))) for n in lengths], meta, {"front": images})


def test_lerobot_opens_an_export_and_finds_every_value_equal(tmp_path, lerobot):
    ours = content()
    lerobot_export.export(ours, tmp_path / "data")
    lerobot(READ, tmp_path / "data", tmp_path / "found.npz")
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["observation.state"], ours.states)
    np.testing.assert_array_equal(found["action"], ours.actions)
    np.testing.assert_array_equal(found["ends"], ours.ends)
    pixels = np.round(found["observation.images.front"] * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pixels, ours.images["front"][:])
    assert set(found["task"]) == {"pick_cube"} and int(found["fps"]) == 10
    assert list(found["names"]) == ours.meta.action_names


def test_our_statistics_are_those_lerobot_computes_of_the_same_rows(tmp_path, lerobot):
    """But for its quantiles, pooled over episodes, and its std of images, whose squares overflow uint8 in 0.4.4."""
    ours = content()
    given = dict(states=ours.states, actions=ours.actions, images=ours.images["front"], ends=ours.ends)
    np.savez(tmp_path / "given.npz", **given)
    lerobot(WRITE, tmp_path / "theirs", tmp_path / "given.npz", "image")
    lerobot_export.export(ours, tmp_path / "ours")
    for name in ("theirs", "ours"):
        lerobot(READ, tmp_path / name, tmp_path / f"{name}.npz")
    theirs, mine = (np.load(tmp_path / f"{name}.npz") for name in ("theirs", "ours"))
    keys = [key for key in theirs.files if key.startswith("stats/")]
    assert set(keys) == {key for key in mine.files if key.startswith("stats/")}
    for key in keys:
        assert mine[key].shape == theirs[key].shape, key
        if key != "stats/observation.images.front/std" and key.rsplit("/")[-1] in (
            "min",
            "max",
            "mean",
            "std",
            "count",
        ):
            np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.parametrize(("kind", "tolerance"), [("image", 0), ("video", 8)])
def test_we_import_what_lerobot_wrote(tmp_path, lerobot, kind, tolerance):
    ours = content()
    given = dict(states=ours.states, actions=ours.actions, images=ours.images["front"], ends=ours.ends)
    np.savez(tmp_path / "given.npz", **given)
    lerobot(WRITE, tmp_path / "data", tmp_path / "given.npz", kind)
    store.write(tmp_path / "back.zarr", lerobot_import.read(tmp_path / "data"))
    back = store.read(tmp_path / "back.zarr")
    np.testing.assert_array_equal(back.states, ours.states)
    np.testing.assert_array_equal(back.actions, ours.actions)
    np.testing.assert_array_equal(back.ends, ours.ends)
    assert back.meta.task == "pick the cube" and back.meta.action_hz == 10
    difference = back.images["front"][:].astype(int) - ours.images["front"][:]
    assert abs(difference).max() <= tolerance  # a row's neighbours differ by 9
