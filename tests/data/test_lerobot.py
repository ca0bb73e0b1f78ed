"""LeRobotDataset v3.0 without lerobot: an export comes back as it was, and what is wrong is named.

What lerobot itself makes of it is test_lerobot_package.py's.
"""

import io
import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tmrl_ros.data import exchange, lerobot_export, lerobot_import, store
from tmrl_ros.errors import DataError

LENGTHS = (5, 1, 7)
META = store.StoreMeta(
    task="pick_cube",
    seed=3,
    calibration="cell 4",
    state_names=["x m", "y m", "z m"],
    action_names=["dx", "grip"],
    action_hz=10,
    config={"edits": ["trimmed"]},
)


def demonstrations(cameras=("front",), lengths=LENGTHS, meta=META) -> store.Demonstrations:
    rng = np.random.default_rng(0)
    sizes = len(meta.state_names), len(meta.action_names)
    pairs = [tuple(rng.normal(size=(n, size)) for size in sizes) for n in lengths]
    images = {camera: rng.integers(0, 256, (sum(lengths), 6, 9, 3)).astype(np.uint8) for camera in cameras}
    return store.collect(pairs, meta, images)


def assert_same(a: store.Demonstrations, b: store.Demonstrations) -> None:
    np.testing.assert_array_equal(a.ends, b.ends)
    np.testing.assert_array_equal(a.states, b.states)
    np.testing.assert_array_equal(a.actions, b.actions)
    assert set(a.images) == set(b.images)
    for camera in a.images:
        np.testing.assert_array_equal(a.images[camera][:], b.images[camera][:])


@pytest.mark.parametrize("cameras", [(), ("front",), ("front", "wrist")])
def test_an_export_comes_back_as_it_was(tmp_path, cameras):
    lerobot_export.export(demonstrations(cameras), tmp_path / "data")
    back = lerobot_import.read(tmp_path / "data")
    assert_same(back, demonstrations(cameras))
    assert back.meta == META


def test_one_number_a_row_and_several_files_come_back_too(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_export, "FILE_MB", 0.001)
    monkeypatch.setattr(lerobot_export, "CHUNK_FILES", 2)
    narrow = demonstrations(meta=META.model_copy(update={"state_names": ["x"]}))
    lerobot_export.export(narrow, tmp_path / "data")
    files = sorted(
        str(file.relative_to(tmp_path / "data/data")) for file in (tmp_path / "data/data").rglob("*.parquet")
    )
    assert files == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet", "chunk-001/file-000.parquet"]
    assert_same(lerobot_import.read(tmp_path / "data"), narrow)
    episodes = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert (episodes["data/chunk_index"], episodes["data/file_index"]) == ([0, 0, 1], [0, 1, 0])


def test_info_and_statistics_are_those_of_the_rows(tmp_path):
    content = demonstrations()
    lerobot_export.export(content, tmp_path / "data", robot_type="panda")
    info = json.loads((tmp_path / "data/meta/info.json").read_bytes())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 10, "panda")
    assert (info["total_episodes"], info["total_frames"], info["splits"]) == (3, 13, {"train": "0:3"})
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [3], "names": META.state_names}
    assert info["features"]["observation.images.front"]["shape"] == [6, 9, 3]
    stats = json.loads((tmp_path / "data/meta/stats.json").read_bytes())
    np.testing.assert_allclose(stats["action"]["std"], content.actions.std(0), rtol=1e-6)
    np.testing.assert_allclose(stats["action"]["q90"], np.quantile(content.actions, 0.9, 0), rtol=1e-6)
    pixels = content.images["front"][:] / 255
    for name, value in (
        ("mean", pixels.mean((0, 1, 2))),
        ("std", pixels.std((0, 1, 2))),
        ("min", pixels.min((0, 1, 2))),
    ):
        np.testing.assert_allclose(np.ravel(stats["observation.images.front"][name]), value, atol=1e-9)
    episodes = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert (episodes["dataset_from_index"], episodes["dataset_to_index"]) == ([0, 5, 6], [5, 6, 13])
    np.testing.assert_allclose(np.ravel(episodes["stats/observation.images.front/max"][1]), pixels[5].max((0, 1)))


def test_rows_count_time_within_their_episode(tmp_path):
    lerobot_export.export(demonstrations(()), tmp_path / "data")
    rows = pq.read_table(tmp_path / "data/data/chunk-000/file-000.parquet").to_pydict()
    assert rows["frame_index"] == [*range(5), 0, *range(7)] and rows["index"] == list(range(13))
    np.testing.assert_allclose(rows["timestamp"], np.array(rows["frame_index"]) / 10, rtol=1e-6)


def test_an_existing_folder_is_not_touched_and_a_failed_export_leaves_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="already exists"):
        lerobot_export.export(demonstrations(), tmp_path / "data")
    store.write(tmp_path / "demos.zarr", demonstrations())
    file = tmp_path / "demos.zarr/observation/images/front/c/0/0/0/0"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="images front"):
        lerobot_export.export(store.read(tmp_path / "demos.zarr"), tmp_path / "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "demos.zarr"]


@pytest.fixture
def foreign(tmp_path) -> Path:
    """As others write it: two tasks, no file of ours, names nested, an extra state."""
    folder = tmp_path / "foreign"
    lerobot_export.export(demonstrations(("front", "wrist")), folder)
    (folder / "meta/tmrl.json").unlink()
    edit_json(folder / "meta/info.json", lambda info: info["features"]["action"].update(names={"motors": ["a", "b"]}))
    file = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    tasks = pa.array([0] * 5 + [1] + [0] * 7)
    pq.write_table(table.set_column(table.schema.get_field_index("task_index"), "task_index", tasks), file)
    pq.write_table(pa.table({"task_index": [0, 1], "task": ["pick", "push"]}), folder / "meta/tasks.parquet")
    return folder


def edit_json(file: Path, change) -> None:
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))


def test_one_task_of_several_is_taken_with_its_images(foreign):
    with pytest.raises(DataError, match="episodes of 2 tasks; choose one: 'pick', 'push'"):
        lerobot_import.read(foreign)
    picked = lerobot_import.read(foreign, exchange.Wanted(only="pick", task="pick_cube"))
    kept = np.r_[0:5, 6:13]
    np.testing.assert_array_equal(picked.ends, [5, 12])
    np.testing.assert_array_equal(picked.states, demonstrations().states[kept])
    np.testing.assert_array_equal(picked.images["wrist"][:], demonstrations(("front", "wrist")).images["wrist"][kept])
    assert picked.meta.task == "pick_cube" and picked.meta.action_names == ["a", "b"]
    assert picked.meta.calibration == "unknown" and picked.meta.action_hz == 10


def test_state_and_images_are_those_that_are_asked_for(foreign):
    wanted = exchange.Wanted(("action", "observation.state"), {"observation.images.wrist": "hand"}, only="push")
    found = lerobot_import.read(foreign, wanted)
    np.testing.assert_array_equal(found.states, np.hstack([demonstrations().actions, demonstrations().states])[5:6])
    assert found.meta.state_names == ["a", "b", *META.state_names] and set(found.images) == {"hand"}
    assert lerobot_import.read(foreign, exchange.Wanted(images={}, only="push")).images == {}


def test_rows_of_different_length_are_refused_rather_than_shifted(foreign):
    file = foreign / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    ragged = pa.array([[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], *[[1.0, 2.0, 3.0]] * 11])
    pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", ragged), file)
    with pytest.raises(DataError, match="action has not the same number of values in each row"):
        lerobot_import.read(foreign, exchange.Wanted(only="pick"))


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_of_videos_are_the_rows_they_belong_to(tmp_path, codec):
    """Two files; episodes 0 and 1 share the first. Rows are told apart by their brightness."""
    lerobot_export.export(demonstrations(()), tmp_path / "data")
    level = np.arange(13) * 15 + 20
    for file, rows in enumerate((range(6), range(6, 13))):
        path = tmp_path / f"data/videos/observation.images.front/chunk-000/file-{file:03d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        film(path, [np.full((32, 48, 3), level[row], np.uint8) for row in rows], codec)
    feature = {"dtype": "video", "shape": [3, 32, 48], "names": ["channels", "height", "width"]}
    edit_json(
        tmp_path / "data/meta/info.json", lambda info: info["features"].update({"observation.images.front": feature})
    )
    file = tmp_path / "data/meta/episodes/chunk-000/file-000.parquet"
    told = {"chunk_index": [0, 0, 0], "file_index": [0, 0, 1], "from_timestamp": [0.0, 0.5, 0.0]}
    table = pq.read_table(file)
    for name, values in told.items():
        table = table.append_column(f"videos/observation.images.front/{name}", pa.array(values))
    pq.write_table(table, file)
    images = lerobot_import.read(tmp_path / "data").images["front"]
    assert images.shape == (13, 32, 48, 3)
    for rows in (np.arange(13), np.array([12, 3, 3, 5, 6, 0])):
        np.testing.assert_allclose(images[rows].mean((1, 2, 3)), level[rows], atol=4)
    cut = tmp_path / "data/videos/observation.images.front/chunk-000/file-001.mp4"
    film(cut, [np.full((32, 48, 3), 9, np.uint8)] * 3, codec)
    images = lerobot_import.read(tmp_path / "data").images["front"]
    with pytest.raises(DataError, match=r"Frame 6 of .*file-001.mp4 is not an image .* no such frame"):
        images[[12]]
    cut.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"file-001.mp4 is damaged"):
        images[[7]]


def film(path: Path, images: list[np.ndarray], codec: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def replace_image(folder: Path, entry) -> None:
    file = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    at = table.schema.get_field_index("observation.images.front")
    images = [entry, *table.column(at).to_pylist()[1:]]
    pq.write_table(
        table.set_column(at, "observation.images.front", pa.array(images, table.schema.field(at).type)), file
    )


def png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"bytes": None, "path": "frame.png"}, "Row 0 of observation.images.front has no image in its Parquet file"),
        ({"bytes": png(9, 6), "path": None}, "has 6x9 px, not 9x6"),
        ({"bytes": png(6, 9)[:-30], "path": None}, "Row 0 .* is damaged"),
        ({"bytes": b"no picture", "path": None}, "Row 0 .* is damaged"),
    ],
)
def test_an_image_that_is_not_one_is_named_and_no_store_is_written(tmp_path, entry, sentence):
    lerobot_export.export(demonstrations(), tmp_path / "data")
    replace_image(tmp_path / "data", entry)
    with pytest.raises(DataError, match=sentence):
        store.write(tmp_path / "new.zarr", lerobot_import.read(tmp_path / "data"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("damage", "wanted", "sentence"),
    [
        (lambda info: info.update(codebase_version="v2.1"), {}, "v2.1, not v3.0; lerobot has .* to convert it"),
        (lambda info: info.update(fps=29.97), {"state": ["action"]}, "29.97 rows a second; give a whole number"),
        (lambda info: info.pop("features"), {}, "cannot be read as a LeRobotDataset v3.0 .KeyError"),
        (lambda info: None, {"state": ["joints"]}, "no state 'joints'; valid: 'observation.state', 'action'"),
        (lambda info: None, {"images": {"top": "top"}}, "no image 'top'; valid: 'observation.images.front'"),
        (lambda info: None, {"only": "fold"}, "no task 'fold'; valid: 'pick_cube'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, damage, wanted, sentence):
    lerobot_export.export(demonstrations(), tmp_path / "data")
    edit_json(tmp_path / "data/meta/info.json", damage)
    with pytest.raises(DataError, match=sentence):
        lerobot_import.read(tmp_path / "data", exchange.Wanted(**wanted))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "meta/info.json").write_text("{"),
        lambda folder: (folder / "meta/tasks.parquet").unlink(),
        lambda folder: (folder / "meta/tmrl.json").write_text("[]"),
        lambda folder: (folder / "data/chunk-000/file-000.parquet").unlink(),
        lambda folder: (folder / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1 not"),
    ],
)
def test_a_damaged_data_set_is_one_sentence(tmp_path, damage):
    lerobot_export.export(demonstrations(), tmp_path / "data")
    damage(tmp_path / "data")
    with pytest.raises(DataError) as refused:
        lerobot_import.read(tmp_path / "data")
    assert "\n" not in str(refused.value)


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(DataError, match=r"needs the package no-such-thing, .* pip install no-such-thing"):
        exchange.need("no_such_thing", "no-such-thing")
