"""`tmrl calibrate` from end to end: bags of drawn board views, and a live camera; what it writes and refuses."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.node import Node
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation, Slerp
from test_calibration import INTRINSICS, TRUE, apart, draw, pose, shots

from tmrl_ros.data import schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.nodes import calibration_messages, convert
from tmrl_ros.nodes.camera_topics import info_msg
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.session import cli

REST_S, MOVE_S, POSE_HZ = 0.5, 0.3, 50
WANTED = calibration_messages.sources("camera/front", "")
PATIENCE_S = 60.0


def pose_msg(stamp_s, arm):
    return convert.pose_msg(round(stamp_s * 1e9), arm[:3, 3], Rotation.from_matrix(arm[:3, :3]).as_quat())


def image_msg(stamp_s, board, seed):
    return convert.image_msg(round(stamp_s * 1e9), "front", np.stack([draw(board, noise=3, seed=seed)] * 3, -1))


def recording(arms, boards, with_board=True, lenses=(INTRINSICS,)):
    """(kind, stamp in s, message) of a hand that rests at each of `arms` and moves in between."""
    for k, arm in enumerate(arms):
        start = 100.0 + k * (REST_S + MOVE_S)
        yield "lens", start, info_msg(round(start * 1e9), "front", lenses[k % len(lenses)])
        after = arms[min(k + 1, len(arms) - 1)]
        turning = Slerp((0, 1), Rotation.from_matrix([arm[:3, :3], after[:3, :3]]))
        shown = [start + 0.25, *([start + 0.3] if k == 0 else []), start + REST_S + 0.1]
        for t in np.arange(start, start + REST_S + MOVE_S, 1 / POSE_HZ):
            share = max(0.0, (t - start - REST_S) / MOVE_S)
            yield "pose", t, pose_msg(t, pose(turning(share), arm[:3, 3] + share * (after[:3, 3] - arm[:3, 3])))
            while shown and shown[0] < t:
                board = boards[k] if with_board else pose(Rotation.identity(), (9, 9, 1))
                yield "image", shown[0], image_msg(shown.pop(0), board, k)


def write(folder, messages, namespace="/lab/", leave_out=()):
    with BagWriter(folder) as out:
        for kind, topic in WANTED.items():
            if kind not in leave_out:
                name = f"{topic.type.__module__.split('.')[0]}/msg/{topic.type.__name__}"
                out.add_topic(namespace + topic.name, name, schema.definition(name))
        for kind, stamp_s, message in messages:
            if kind not in leave_out:
                out.write(namespace + WANTED[kind].name, round(stamp_s * 1e9), serialize_message(message))
    return folder


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("bags"), {}
    for mount in TRUE:
        arms, boards = shots(mount, TRUE[mount])
        made[mount] = write(folder / mount, recording(arms, boards))
    return made


@pytest.fixture
def tmrl(monkeypatch, capsys):
    """tmrl(*words): status, standard output and the sentence on stderr of `tmrl calibrate front`."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["tmrl", "calibrate", "front", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err and err.count("\n") <= 1
        return end.value.code, out, err

    return run


@pytest.mark.parametrize("mount", TRUE)
def test_the_true_pose_comes_out_of_a_bag_and_into_one_file(bags, tmp_path, tmrl, mount):
    file = tmp_path / "calibration.json"
    status, out, err = tmrl(file, "--mount", mount, "--serial", "123", "--bag", bags[mount])
    assert (status, err) == (0, "")
    made = Calibration.read(file)
    camera = made.cameras["front"]
    off_m, off_deg = apart(np.array(camera.parent_from_camera), TRUE[mount])
    assert off_m < 0.002 and off_deg < 0.2
    assert (camera.mount, camera.serial, camera.intrinsics, camera.views) == (mount, "123", INTRINSICS, 12)
    assert out.count("\nview ") == 11 and "view 12: " in out
    assert "reprojection 0." in out and "mm and 0." in out and made.id in out
    assert "while the hand moved" in out and "from a place that was seen before" in out
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]


def test_a_second_camera_joins_the_file_and_a_refused_one_leaves_it_as_it_was(bags, tmp_path, tmrl, monkeypatch):
    file, words = tmp_path / "calibration.json", ("--mount", "eye_to_hand", "--serial", "1")
    assert tmrl(file, *words, "--bag", bags["eye_to_hand"])[0] == 0
    side = ["side", file, *words, "--bag", bags["eye_to_hand"], "--topic", "camera/front"]
    monkeypatch.setattr("sys.argv", ["tmrl", "calibrate", *map(str, side)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert set(Calibration.read(file).cameras) == {"front", "side"}
    before = file.read_bytes()
    status, _, err = tmrl(file, "--mount", "eye_in_hand", "--serial", "1", "--bag", bags["eye_to_hand"])
    assert status == 2 and "belong together" in err
    assert file.read_bytes() == before


REFUSED = {
    "few": (lambda arms, boards: recording(arms[:6], boards), {}, "6 views and 6 poses of the arm; at least 8 pairs"),
    "wrong poses": (
        lambda arms, boards: recording(arms[1:10], boards),
        {},
        "images and arm poses belong together",
    ),
    "no board": (
        lambda arms, boards: recording(arms[:2], boards, with_board=False),
        {},
        "0 corners of the board found",
    ),
    "no poses": (
        lambda arms, boards: recording(arms[:1], boards),
        {"leave_out": ("pose",)},
        "has no franka_robot_state",
    ),
    "no lens": (
        lambda arms, boards: recording(arms[:1], boards),
        {"leave_out": ("lens",)},
        "has no camera/front/color/camera_info",
    ),
    "two lenses": (
        lambda arms, boards: recording(
            arms[:2], boards, lenses=(INTRINSICS, Intrinsics(640, 480, (500.0, 500.0), (319.5, 239.5)))
        ),
        {},
        "intrinsics changed",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_recording_that_cannot_be_trusted_is_refused_in_a_sentence_and_nothing_is_written(tmp_path, tmrl, what):
    make, options, sentence = REFUSED[what]
    made = write(tmp_path / "bag", make(*shots("eye_to_hand", TRUE["eye_to_hand"])), **options)
    file = tmp_path / "calibration.json"
    status, _, err = tmrl(file, "--mount", "eye_to_hand", "--serial", "1", "--bag", made)
    assert status == 2 and sentence in err
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bag", "nowhere"], "nowhere is not a bag"),
        (["--bag", "nowhere", "--marker-mm", "50"], "marker_m = 0.05 must be smaller than square_m"),
        (["--bag", "nowhere", "--columns", "2"], "columns = 2"),
        (["--bag", "nowhere", "--dictionary", "DICT_9X9"], "dictionary = 'DICT_9X9'"),
        (["--bag", "nowhere", "--serial", " "], "--serial is empty"),
    ],
)
def test_words_that_cannot_be_are_refused_in_a_sentence(tmp_path, tmrl, words, sentence):
    status, _, err = tmrl(tmp_path / "c.json", "--mount", "eye_to_hand", "--serial", "1", *words)
    assert status == 2 and sentence in err


def test_a_name_or_a_folder_that_cannot_be_is_refused_before_the_work(bags, tmp_path, tmrl, monkeypatch):
    words = ("--mount", "eye_to_hand", "--serial", "1", "--bag", bags["eye_to_hand"])
    status, out, err = tmrl(tmp_path / "nowhere" / "c.json", *words)
    assert status == 2 and "nowhere is not a folder" in err and "view" not in out
    monkeypatch.setattr("sys.argv", ["tmrl", "calibrate", "Front", str(tmp_path / "c.json"), *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and not any(tmp_path.iterdir())


def test_a_damaged_file_is_refused_before_the_work(bags, tmp_path, tmrl):
    (tmp_path / "c.json").write_text("{")
    status, out, err = tmrl(
        tmp_path / "c.json", "--mount", "eye_to_hand", "--serial", "1", "--bag", bags["eye_to_hand"]
    )
    assert status == 2 and "is damaged" in err and "view" not in out


def test_live_topics_give_the_pose_too(tmp_path, ros_context):
    """The hand rests in each place until the command says that it took a view there."""
    file = tmp_path / "calibration.json"
    node = Node("lab", context=ros_context)
    publishers = {kind: topic.publisher(node) for kind, topic in WANTED.items()}
    words = ["front", str(file), "--mount", "eye_to_hand", "--serial", "9", "--views", "10"]
    command = [sys.executable, "-u", "-m", "tmrl_ros.session.cli", "calibrate", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    os.set_blocking(process.stdout.fileno(), False)
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"])
    images = [image_msg(0, board, k) for k, board in enumerate(boards)]
    said, end_s, tick = "", time.monotonic() + PATIENCE_S, 0
    while process.poll() is None:
        assert time.monotonic() < end_s, said
        said += (process.stdout.read() or b"").decode()
        place, now_s, tick = min(said.count("view "), len(arms) - 1), time.time(), tick + 1
        publishers["pose"].publish(pose_msg(now_s, arms[place]))
        if tick % 10 == 0:
            images[place].header.stamp = convert.to_time(round(now_s * 1e9))
            publishers["image"].publish(images[place])
            publishers["lens"].publish(info_msg(round(now_s * 1e9), "front", INTRINSICS))
        time.sleep(0.02)
    assert process.returncode == 0
    off_m, off_deg = apart(np.array(Calibration.read(file).cameras["front"].parent_from_camera), TRUE["eye_to_hand"])
    assert off_m < 0.002 and off_deg < 0.2
    node.destroy_node()
