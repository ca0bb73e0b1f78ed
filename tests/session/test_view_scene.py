"""What `tmrl view` draws of which message, without ROS and without a viewer."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.config import PerceptionConfig, SafetyLimits
from tmrl_ros.errors import ConfigError
from tmrl_ros.perception.camera import CameraModel
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.overlay import AFTER, BEFORE, overlay
from tmrl_ros.session import cli, foxglove_layout
from tmrl_ros.session.scene import RAW_POINTS, TRACK, Box, Line, Scene
from tmrl_ros.types import EpisodeEvent, Mode, Observation, SessionState, SessionStatus

sys.path.append(str(Path(__file__).parents[1] / "perception"))
import tabletop

MS = 1_000_000
LIMITS = SafetyLimits()


def settings(folder, mount="eye_to_hand", pose=tabletop.DOWN, **changes):
    tabletop.calibration(mount, pose).write(folder / "calibration.json")
    values = {"cameras": {"front": {}}, "calibration": str(folder / "calibration.json"), "cloud": tabletop.CLOUD}
    return PerceptionConfig.model_validate(values | changes)


def seen(stamp_ns, seed=0):
    """The streams of one moment: images, and the observation that perception makes of them."""
    depth, colour = tabletop.depth(seed), tabletop.colour(seed)
    pipeline = CloudPipeline(settings_cloud(), {"front": CameraModel(tabletop.INTRINSICS, tabletop.DOWN)})
    observation = Observation(stamp_ns, np.zeros(3, np.float32), {}, pipeline.build({"front": depth}))
    heard = [
        ("observation", stamp_ns, observation),
        ("front/color", stamp_ns, colour),
        ("front/depth", stamp_ns, depth),
    ]
    return heard, pipeline.crop({"front": depth})


def settings_cloud():
    return PerceptionConfig.model_validate({"cloud": tabletop.CLOUD}).cloud


def at(place):
    pose = np.eye(4)
    pose[:3, 3] = place
    return pose


def by_topic(entries):
    return {entry.topic: entry for entry in entries}


def status(stamp_ns, mode=Mode.POLICY, reason=""):
    return SessionStatus(stamp_ns, SessionState.RUNNING, mode, reason, 60.0, 3, 2, 1, 0.5, 9, 1)


def test_the_cloud_lies_on_the_block_and_raw_points_on_the_table_too(tmp_path):
    heard, _ = seen(5 * MS)
    drawn = by_topic(Scene(settings(tmp_path), LIMITS).draw(heard))
    cloud, raw = drawn["/cloud"].thing, drawn["/raw/front"].thing
    assert {entry.stamp_ns for entry in drawn.values()} == {5 * MS}
    assert (cloud.rgb, raw.rgb) == (AFTER, BEFORE)
    np.testing.assert_array_equal(cloud.xyz, heard[0][2].cloud)
    assert 1000 < len(raw.xyz) <= RAW_POINTS
    assert raw.xyz[:, 2].min() < 0.005 and abs(raw.xyz[:, 2].max() - tabletop.BLOCK_M) < 0.005


def test_the_overlay_is_that_of_the_report_and_is_drawn_once_an_observation(tmp_path):
    config = settings(tmp_path)
    heard, crop = seen(5 * MS)
    scene = Scene(config, LIMITS)
    picture = by_topic(scene.draw(heard))["/overlay/front"].thing.image
    camera, box = CameraModel(tabletop.INTRINSICS, tabletop.DOWN), (config.cloud.crop_min_m, config.cloud.crop_max_m)
    expected = overlay(heard[1][2], camera, crop, heard[0][2].cloud, *box, scale=6)
    np.testing.assert_array_equal(picture, expected)
    assert not scene.draw([])


def test_images_of_another_moment_make_no_overlay_until_their_own_observation_comes(tmp_path):
    scene = Scene(settings(tmp_path), LIMITS)
    early, late = seen(5 * MS)[0], seen(105 * MS, 1)[0]
    assert "/overlay/front" not in by_topic(scene.draw([early[0], *late[1:]]))
    drawn = by_topic(scene.draw([late[0]]))
    assert drawn["/overlay/front"].stamp_ns == 105 * MS


def test_what_nobody_wants_is_not_worked_out(tmp_path):
    drawn = by_topic(Scene(settings(tmp_path), LIMITS).draw(seen(5 * MS)[0], wanted=lambda topic: False))
    assert drawn.keys() == {"/cloud", "/camera/front/color"}


def test_boxes_and_fixed_cameras_stand(tmp_path):
    config = settings(tmp_path)
    scene = Scene(config, LIMITS)
    scene.draw(seen(7 * MS)[0])
    standing = by_topic(scene.standing())
    assert {entry.stamp_ns for entry in standing.values()} == {7 * MS}
    crop, workspace = standing["/crop"].thing, standing["/workspace"].thing
    assert isinstance(crop, Box) and (crop.low_m, crop.high_m) == (config.cloud.crop_min_m, config.cloud.crop_max_m)
    assert (workspace.low_m, workspace.high_m) == (LIMITS.workspace_min_m, LIMITS.workspace_max_m)
    np.testing.assert_array_equal(standing["/camera/front/calibration"].thing.base_from_camera, tabletop.DOWN)


def test_a_camera_on_the_hand_is_where_the_hand_was_at_its_image(tmp_path):
    scene = Scene(settings(tmp_path, "eye_in_hand"), LIMITS)
    heard = seen(5 * MS)[0]
    assert "/raw/front" not in by_topic(scene.draw(heard))  # the hand was not heard yet
    poses = [("tcp", 5 * MS, at((0, 0, 0.2))), ("tcp", 105 * MS, at((0, 0, 0.5)))]
    drawn = by_topic(scene.draw([*poses, *heard]))
    np.testing.assert_allclose(drawn["/camera/front/calibration"].thing.base_from_camera[2, 3], tabletop.ABOVE_M + 0.2)
    assert abs(drawn["/raw/front"].thing.xyz[:, 2].min() - 0.2) < 0.005
    assert "/camera/front/calibration" not in by_topic(scene.standing())


def test_the_path_grows_by_motion_is_bounded_and_begins_with_an_episode(tmp_path):
    scene = Scene(PerceptionConfig(), LIMITS)
    places = [("tcp", k * MS, at((0.001 * k, 0, 0))) for k in range(10)]
    track = by_topic(scene.draw(places))["/tcp"].thing.places
    np.testing.assert_allclose(track[:, 0], (0, 0.002, 0.004, 0.006, 0.008, 0.009))
    far = [("tcp", (20 + k) * MS, at((k, 0, 0))) for k in range(2 * TRACK)]
    assert len(by_topic(scene.draw(far))["/tcp"].thing.places) == TRACK + 1
    event = EpisodeEvent(9000 * MS, 4, "started", Mode.POLICY, False, False, False, 0, "", 0.0)
    drawn = by_topic(scene.draw([("episode", 9000 * MS, event), ("tcp", 9001 * MS, at((1, 1, 1)))]))
    np.testing.assert_array_equal(np.unique(drawn["/tcp"].thing.places, axis=0), [(1, 1, 1)])
    assert drawn["/log"].thing == Line("episode 4 started")


def test_a_mode_and_its_reason_are_said_when_they_change_and_numbers_always(tmp_path):
    scene = Scene(PerceptionConfig(), LIMITS)
    told = [status(k * MS, *mode) for k, mode in enumerate([(), (), (Mode.HOLD, "too old"), (Mode.FAULT, "reflex")])]
    entries = scene.draw([("status", one.stamp_ns, one) for one in told])
    assert [entry.thing["success"] for entry in entries if entry.topic == "/session"] == [0.5] * 4
    assert [entry.thing for entry in entries if entry.topic == "/log"] == [
        Line("running, POLICY"), Line("running, HOLD: too old", "warn"), Line("running, FAULT: reflex", "error")
    ]  # fmt: skip


def test_a_bag_that_begins_again_is_another_session(tmp_path):
    scene = Scene(settings(tmp_path), LIMITS)
    scene.draw([("tcp", 9000 * MS, at((1, 0, 0)))])
    drawn = by_topic(scene.draw([("tcp", 5 * MS, at((0, 0, 0))), *seen(5 * MS)[0]]))
    np.testing.assert_array_equal(drawn["/tcp"].thing.places[:, 0], 0)
    assert drawn["/overlay/front"].stamp_ns == 5 * MS


def test_a_depth_image_of_the_wrong_size_is_a_line_once(tmp_path):
    scene = Scene(settings(tmp_path), LIMITS)
    entries = scene.draw([("front/depth", k * MS, np.zeros((9, 9), np.uint16)) for k in range(2)])
    entries += scene.draw([("front/depth", 3 * MS, np.zeros((9, 9), np.uint16))])
    (line,) = (entry.thing for entry in entries)
    assert line.level == "warn" and "shape (9, 9)" in line.text


def test_cameras_without_their_calibration_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"perception\.calibration is empty"):
        Scene(settings(tmp_path, calibration=""), LIMITS)
    with pytest.raises(ConfigError, match=r"camera side is not in .* which has front"):
        Scene(settings(tmp_path, cameras={"side": {}}), LIMITS)


def test_the_layout_shows_every_camera_and_places_each_panel_once(tmp_path):
    foxglove_layout.write(tmp_path / "layout.json", ["front", "side"])
    layout = json.loads((tmp_path / "layout.json").read_text())

    def panels(part):
        return [part] if isinstance(part, str) else [*panels(part["first"]), *panels(part["second"])]

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    assert layout["configById"]["Image!side"]["imageMode"]["imageTopic"] == "/overlay/side"


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [(True, "needs the package foxglove-sdk, which is not installed: pip install foxglove-sdk"),
     (False, "nowhere does not exist; start the session first, or name its run_dir or a parameter file")],
)  # fmt: skip
def test_what_is_missing_is_said_in_a_sentence(monkeypatch, capsys, tmp_path, missing, sentence):
    if missing:
        monkeypatch.setitem(sys.modules, "foxglove", None)
    monkeypatch.setattr("sys.argv", ["tmrl", "view", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and sentence in capsys.readouterr().err
