"""`tmrl data`: stores and bags found, checked, edited and drawn; damage is one sentence and status 2."""

import itertools

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from PIL import Image, ImageSequence
from rclpy.serialization import serialize_message

from tmrl_ros.data import schema, store
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.session import cli

POSE = "geometry_msgs/msg/PoseStamped"
ACTION_NAMES = ["dx", "dy", "dz", "grip"]


def demonstrations(lengths, cameras=()) -> store.Demonstrations:
    meta = store.StoreMeta(
        task="pick_cube", seed=3, calibration="true", state_names=STATE_NAMES, action_names=ACTION_NAMES, action_hz=10
    )
    rng = np.random.default_rng(0)
    images = {camera: rng.integers(0, 256, (sum(lengths), 8, 12, 3)).astype(np.uint8) for camera in cameras}
    return store.collect([(rng.normal(size=(n, 10)), rng.normal(size=(n, 4))) for n in lengths], meta, images)


@pytest.fixture
def folder(tmp_path):
    """A store and a bag, as a run leaves them."""
    store.write(tmp_path / "run/demos.zarr", demonstrations([5, 3, 4]))
    with BagWriter(tmp_path / "run/bag") as writer:
        writer.add_topic("/pose", POSE, schema.definition(POSE))
        writer.add_topic("/silent", POSE, schema.definition(POSE))
        rng = np.random.default_rng(0)
        for tick in range(300):
            message = PoseStamped()
            message.pose.position.x, message.pose.position.y = rng.normal(size=2)  # does not compress
            writer.write("/pose", tick, serialize_message(message))
    return tmp_path / "run"


@pytest.fixture
def tmrl(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["tmrl", "data", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


def test_list_names_stores_and_bags_with_their_counts(tmrl, folder):
    (folder / "broken.zarr").mkdir()
    status, out, _ = tmrl("list", folder)
    rows = [line.split() for line in out.splitlines()[1:]]
    assert status == 0
    assert rows[0][:3] == ["bag", "bag", "300"]
    assert rows[1][:2] == ["broken.zarr", "(its"]
    assert rows[2][:5] == ["demos.zarr", "store", "pick_cube", "3", "12"]


def test_list_of_nothing_says_so(tmrl, tmp_path):
    assert tmrl("list", tmp_path) == (0, f"No store and no bag in {tmp_path}\n", "")
    status, _, err = tmrl("list", tmp_path / "nowhere")
    assert status == 2 and "nowhere is not a folder" in err


def test_check_of_what_is_whole(tmrl, folder):
    status, out, err = tmrl("check", folder / "demos.zarr", folder / "bag")
    assert (status, err) == (0, "")
    assert "3 episodes, 12 rows of pick_cube" in out and "300 messages of 1 topics" in out


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "what", "sentence"),
    [
        (
            lambda folder: flip(next(p for p in (folder / "demos.zarr/action/c").rglob("0") if p.is_file())),
            "demos.zarr",
            "is damaged",
        ),
        (lambda folder: (folder / "demos.zarr/zarr.json").unlink(), "demos.zarr", "not a demonstration store"),
        (lambda folder: flip(folder / "bag/bag_0.mcap"), "bag", "is damaged"),
        (lambda folder: cut(folder / "bag/bag_0.mcap"), "bag", "its recorder was killed"),
        (lambda folder: recount(folder / "bag/metadata.yaml"), "bag", "holds 300 messages of /pose where"),
        (lambda folder: (folder / "bag/metadata.yaml").write_text("]"), "bag", "metadata.yaml is damaged"),
        (lambda folder: None, "nowhere", "nowhere is not a bag"),
    ],
)
def test_check_says_what_is_damaged_in_a_sentence_and_goes_on(tmrl, folder, damage, what, sentence):
    damage(folder)
    sound = folder / ("bag" if what == "demos.zarr" else "demos.zarr")
    status, out, err = tmrl("check", folder / what, sound)
    assert status == 2
    assert sentence in err and err.startswith("tmrl: ") and err.count("\n") == 1
    assert f"{sound}: whole" in out


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def recount(path) -> None:
    path.write_text(path.read_text().replace("message_count: 300", "message_count: 301"))


def test_split_trim_and_merge_write_stores_that_read_back(tmrl, folder, tmp_path):
    whole, first, second, merged, short = (tmp_path / name for name in "abcde")
    store.write(whole, demonstrations([5, 3, 4]))
    assert tmrl("split", whole, first, second, "--share", "0.6")[0] == 0
    assert tmrl("merge", merged, first, second)[0] == 0
    assert len(store.read(first).ends) == 2 and len(store.read(merged).states) == 12
    status, out, _ = tmrl("trim", whole, short, "--head", "1", "--tail", "1", "--drop", "1")
    assert (status, out) == (0, f"{short}: 2 episodes, 5 rows\n")
    np.testing.assert_array_equal(store.read(short).states[:3], store.read(whole).states[1:4])


def test_an_existing_store_is_never_overwritten_and_a_split_is_both_or_none(tmrl, folder, tmp_path):
    demos = folder / "demos.zarr"
    status, _, err = tmrl("split", demos, tmp_path / "first", demos)
    assert status == 2 and "already exists" in err and not (tmp_path / "first").exists()
    assert tmrl("merge", demos, demos)[0] == 2


@pytest.mark.parametrize("cameras", [(), ("front",)])
def test_plot_draws_something(tmrl, folder, cameras):
    store.write(folder / "new.zarr", demonstrations([5, 3], cameras))
    status, out, _ = tmrl("plot", folder / "new.zarr")
    picture = folder / "new.png"
    assert (status, out) == (0, f"{picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


@pytest.fixture
def with_images(folder):
    store.write(folder / "seen.zarr", demonstrations([5, 3, 4], ["front", "wrist"]))
    return folder / "seen.zarr"


def test_list_and_check_tell_of_images(tmrl, with_images):
    listed = next(line for line in tmrl("list", with_images.parent)[1].splitlines() if line.split()[0] == "seen.zarr")
    assert listed.rstrip().endswith("front 12x8, wrist 12x8")
    assert "3 episodes, 12 rows of pick_cube, images front 12x8, wrist 12x8" in tmrl("check", with_images)[1]


def test_check_finds_an_image_that_is_damaged(tmrl, with_images):
    flip(with_images / "observation/images/wrist/c/0/0/0/0")
    status, _, err = tmrl("check", with_images)
    assert status == 2 and "images wrist of" in err and "are damaged" in err and err.count("\n") == 1


@pytest.mark.parametrize("name", ["demos.zarr", "seen.zarr"])
def test_play_writes_an_episode_in_its_own_time(tmrl, folder, with_images, name):
    status, out, _ = tmrl("play", folder / name, "--episode", "2")
    film = folder / f"{name[:-5]}_2.gif"
    assert (status, out) == (0, f"{film}\n")
    with Image.open(film) as moving:
        frames = [
            (frame.info["duration"], np.asarray(frame.convert("RGB"))) for frame in ImageSequence.Iterator(moving)
        ]
    assert [duration for duration, _ in frames] == [100] * 4  # 10 rows a second
    assert all((a[1] != b[1]).any() for a, b in itertools.pairwise(frames))
    assert name == "demos.zarr" or frames[0][1].shape == (320, 2 * 480, 3)  # two cameras, side by side


def test_play_of_a_store_without_a_hand_draws_its_states(tmrl, tmp_path):
    meta = store.StoreMeta(task="t", seed=0, calibration="", state_names=["a"], action_names=["b", "c"], action_hz=20)
    store.write(tmp_path / "d.zarr", store.collect([(np.ones((3, 1)), np.zeros((3, 2)))], meta))
    assert tmrl("play", tmp_path / "d.zarr", tmp_path / "film.gif")[0] == 0
    with Image.open(tmp_path / "film.gif") as moving:
        assert moving.n_frames == 3 and moving.info["duration"] == 50


def test_play_of_an_episode_that_is_not_there_says_which_are(tmrl, folder):
    status, _, err = tmrl("play", folder / "demos.zarr", "--episode", "3")
    assert status == 2 and "no episode 3; valid: 0 to 2" in err and not list(folder.glob("*.gif"))


def test_export_and_import_give_the_store_back(tmrl, with_images, tmp_path):
    assert tmrl("export", with_images, tmp_path / "lerobot")[0] == 0
    status, out, _ = tmrl("import", tmp_path / "lerobot", tmp_path / "back.zarr")
    assert (status, out) == (0, f"{tmp_path / 'back.zarr'}: 3 episodes, 12 rows\n")
    before, after = store.read(with_images), store.read(tmp_path / "back.zarr")
    assert after.meta == before.meta
    np.testing.assert_array_equal(after.images["wrist"][:], before.images["wrist"][:])


def test_import_takes_the_keys_that_the_options_name(tmrl, with_images, tmp_path):
    tmrl("export", with_images, tmp_path / "data")
    options = ["--state", "action", "--state", "timestamp", "--image", "observation.images.wrist=hand", "--task", "t",
               "--calibration", "cell 4", "--hz", "5"]  # fmt: skip
    assert tmrl("import", tmp_path / "data", tmp_path / "some.zarr", *options)[0] == 0
    some = store.read(tmp_path / "some.zarr")
    assert some.states.shape == (12, 5) and set(some.images) == {"hand"}
    assert (some.meta.task, some.meta.calibration, some.meta.action_hz) == ("t", "cell 4", 5)
    assert tmrl("import", tmp_path / "data", tmp_path / "none.zarr", "--no-images")[0] == 0
    assert not store.read(tmp_path / "none.zarr").images


def test_import_of_what_is_no_data_set_and_of_a_camera_twice_is_refused(tmrl, folder, tmp_path):
    status, _, err = tmrl("import", folder, tmp_path / "a.zarr")
    assert status == 2 and "nothing that can be imported" in err
    status, _, err = tmrl("import", folder, tmp_path / "a.zarr", "--image", "a.front", "--image", "b.front")
    assert status == 2 and "KEY=CAMERA" in err
