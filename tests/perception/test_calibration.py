"""Hand-eye calibration on drawn images: the true pose comes back, bad results do not pass, one file keeps it."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tmrl_ros.config import BoardConfig, CalibrationLimits
from tmrl_ros.errors import CalibrationError, ConfigError, FrameError
from tmrl_ros.perception.board import Board, BoardView, board_pose
from tmrl_ros.perception.calibration import Calibration, CameraCalibration
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.perception.handeye import solve_hand_eye

INTRINSICS = Intrinsics(640, 480, (515.0, 515.0), (319.5, 239.5))
BOARD, LIMITS, FINE = Board(BoardConfig()), CalibrationLimits(), 2  # FINE: drawn so much larger, then averaged
PX_PER_M = 5000
TEXTURE = BOARD.picture(200)
CENTRE = np.array([0.14, 0.10, 0.0])  # of the board, in its frame
VIEWS = 12


def pose(rotation, position):
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation.as_matrix(), position
    return made


def draw(camera_from_board, noise=0.0, seed=0):
    """uint8 [480, 640]: the board through the pinhole, grey around it."""
    plane = INTRINSICS.matrix @ camera_from_board[:3, [0, 1, 3]]  # board x, y, 1 in m -> px
    texture = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, PX_PER_M]]) / PX_PER_M
    fine = np.array([[FINE, 0, (FINE - 1) / 2], [0, FINE, (FINE - 1) / 2], [0, 0, 1]])
    size = (640 * FINE, 480 * FINE)
    large = cv2.warpPerspective(TEXTURE, fine @ plane @ texture, size, flags=cv2.INTER_LINEAR, borderValue=160)
    image = cv2.resize(large, (640, 480), interpolation=cv2.INTER_AREA)
    return np.clip(image + np.random.default_rng(seed).normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def shots(mount, camera, turn=0.5, seed=0):
    """Gripper poses and the camera_from_board of each, the board about 0.7 m before the camera and turned by `turn`."""
    rng, arms, boards = np.random.default_rng(seed), [], []
    held = pose(Rotation.from_euler("xyz", (0.1, -0.2, 1.0)), (0.05, -0.08, 0.10))  # the board's unknown place
    fixed = pose(Rotation.from_euler("xyz", (0.05, 0.02, 0.7)), (0.5, -0.1, 0.02))
    for _ in range(VIEWS):
        rotation = Rotation.from_rotvec(rng.uniform(-turn, turn, 3))
        centre = rng.uniform((-0.12, -0.08, 0.6), (0.12, 0.08, 0.8))
        board = pose(rotation, centre - rotation.apply(CENTRE))
        boards.append(board)
        if mount == "eye_to_hand":
            arms.append(camera @ board @ np.linalg.inv(held))
        else:
            arms.append(fixed @ np.linalg.inv(board) @ np.linalg.inv(camera))
    return arms, boards


TRUE = {
    "eye_to_hand": pose(Rotation.from_euler("xyz", (-2.1, 0.1, 1.6)), (1.35, 0.05, 0.72)),
    "eye_in_hand": pose(Rotation.from_euler("xyz", (0.1, 0.05, 1.5)), (0.06, -0.03, 0.04)),
}


def exact_view(camera_from_board, noise_px=0.0, seed=0):
    """A view without an image: all inner corners projected, with noise."""
    x, y = np.meshgrid(np.arange(1, 7) * 0.04, np.arange(1, 5) * 0.04)
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(24)])
    seen = (points @ camera_from_board[:3, :3].T + camera_from_board[:3, 3]) @ INTRINSICS.matrix.T
    noise = np.random.default_rng(seed).normal(0, noise_px, (24, 2))
    return BoardView(points, seen[:, :2] / seen[:, 2:] + noise)


def solve(arms, boards, mount="eye_to_hand", noise_px=0.1, **limits):
    views = [exact_view(board, noise_px, seed) for seed, board in enumerate(boards)]
    return solve_hand_eye(views, arms, INTRINSICS, mount, CalibrationLimits(**limits))


def apart(found, true):
    """m and degrees between two poses."""
    difference = np.linalg.inv(true) @ found
    return np.linalg.norm(difference[:3, 3]), np.degrees(Rotation.from_matrix(difference[:3, :3]).magnitude())


@pytest.mark.parametrize("mount", TRUE)
def test_true_pose_is_recovered_from_images(mount):
    arms, boards = shots(mount, TRUE[mount])
    views = [BOARD.detect(draw(board, noise=4, seed=k)) for k, board in enumerate(boards)]
    solved = solve_hand_eye(views, arms, INTRINSICS, mount, LIMITS)
    off_m, off_deg = apart(solved.parent_from_camera, TRUE[mount])
    assert off_m < 0.002 and off_deg < 0.2
    assert solved.views == VIEWS and solved.reprojection_px < 0.3
    assert off_m < 4 * np.sqrt(3) * solved.position_std_m, "the stated uncertainty is too small"


@pytest.mark.parametrize("mount", TRUE)
def test_exact_corners_give_the_exact_pose(mount):
    arms, boards = shots(mount, TRUE[mount], seed=3)
    off_m, off_deg = apart(solve(arms, boards, mount, noise_px=0).parent_from_camera, TRUE[mount])
    assert off_m < 1e-6 and off_deg < 1e-4


def test_corners_are_where_the_pinhole_puts_them():
    board = shots("eye_to_hand", TRUE["eye_to_hand"])[1][0]
    view = BOARD.detect(draw(board))
    assert len(view.board_m) == 24
    assert np.abs((view.image_px - exact_view(board).image_px).mean(0)).max() < 0.05
    off_m, off_deg = apart(board_pose(view, INTRINSICS), board)
    assert off_m < 0.004 and off_deg < 0.5


def test_colour_image_shows_the_same_board():
    image = draw(shots("eye_to_hand", TRUE["eye_to_hand"])[1][0])
    np.testing.assert_array_equal(BOARD.detect(np.stack([image] * 3, -1)).image_px, BOARD.detect(image).image_px)


def test_image_without_enough_board_is_refused():
    with pytest.raises(FrameError, match="0 corners of the board found, 8 are needed"):
        BOARD.detect(np.full((480, 640), 160, np.uint8))
    hidden = draw(shots("eye_to_hand", TRUE["eye_to_hand"])[1][0])
    corner = BOARD.detect(hidden).image_px
    hidden[:, int(np.median(corner[:, 0])) - 40 :] = 160
    with pytest.raises(FrameError, match=r"[0-7] corners of the board found"):
        BOARD.detect(hidden)
    with pytest.raises(FrameError, match="float32"):
        BOARD.detect(np.zeros((480, 640), np.float32))


def test_board_with_markers_larger_than_squares_is_refused():
    with pytest.raises(ConfigError, match="marker_m"):
        Board(BoardConfig(marker_m=0.05))


def test_too_few_views_and_unequal_counts_are_refused():
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"])
    with pytest.raises(CalibrationError, match="7 views and 7 poses"):
        solve(arms[:7], boards[:7])
    with pytest.raises(CalibrationError, match="12 views and 11 poses"):
        solve(arms[:11], boards)


def test_turns_about_one_axis_are_refused():
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"], turn=0.0)
    spun = [arm @ pose(Rotation.from_euler("z", k * 0.1), (0, 0, 0)) for k, arm in enumerate(arms)]
    with pytest.raises(CalibrationError, match="second axis"):
        solve(spun, boards)


def test_poses_of_other_views_are_refused():
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"])
    with pytest.raises(CalibrationError, match="images and arm poses belong together"):
        solve(arms[1:] + arms[:1], boards)


def test_board_that_slipped_half_way_is_refused():
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"])
    slipped = [arm @ pose(Rotation.identity(), (0, 0.03, 0)) if k > 5 else arm for k, arm in enumerate(arms)]
    with pytest.raises(CalibrationError, match="nothing slipped"):
        solve(slipped, boards)


def test_board_of_another_size_is_refused():
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"])
    views = [exact_view(board) for board in boards]
    views = [BoardView(view.board_m * 1.1, view.image_px) for view in views]
    with pytest.raises(CalibrationError, match="check the board's size"):
        solve_hand_eye(views, arms, INTRINSICS, "eye_to_hand", LIMITS)


def test_noise_beyond_the_limit_is_refused_and_a_few_wild_corners_are_not():
    arms, boards = shots("eye_to_hand", TRUE["eye_to_hand"])
    with pytest.raises(CalibrationError, match=r"reprojection_px is"):
        solve(arms, boards, noise_px=1.5)
    views = [exact_view(board, 0.1, seed) for seed, board in enumerate(boards)]
    views[3].image_px[5:8] += 3
    found = solve_hand_eye(views, arms, INTRINSICS, "eye_to_hand", LIMITS).parent_from_camera
    assert apart(found, TRUE["eye_to_hand"])[1] < 0.027, "squared errors would give 0.037 degrees"


# -- the file


def calibration(mount="eye_to_hand", serial="123"):
    solved = solve(*shots(mount, TRUE[mount]), mount)
    return Calibration(cameras={"front": CameraCalibration.of(serial, mount, INTRINSICS, solved)})


MADE = calibration()


def test_file_gives_back_what_was_written(tmp_path):
    MADE.write(tmp_path / "calibration.json")
    read = Calibration.read(tmp_path / "calibration.json")
    assert read == MADE and read.id == MADE.id
    found = read.cameras["front"].camera().base_from_camera
    assert apart(found, TRUE["eye_to_hand"])[0] < 0.002
    assert [file.name for file in tmp_path.iterdir()] == ["calibration.json"]


def test_camera_on_the_hand_moves_with_it():
    camera, hand = calibration("eye_in_hand").cameras["front"], pose(Rotation.from_euler("x", 0.3), (0.5, 0, 0.4))
    off_m, off_deg = apart(camera.camera(hand).base_from_camera, hand @ TRUE["eye_in_hand"])
    assert off_m < 0.002 and off_deg < 0.2
    with pytest.raises(CalibrationError, match="needs the hand's"):
        camera.camera()


def test_another_calibration_is_refused_by_id():
    MADE.require(MADE.id)
    other = calibration(serial="124")
    assert other.id != MADE.id
    with pytest.raises(CalibrationError, match=f"{other.id} is not {MADE.id}"):
        other.require(MADE.id)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda v: v["cameras"]["front"]["parent_from_camera"][0].__setitem__(3, 9.0), "was changed after"),
        (lambda v: v["cameras"]["front"]["parent_from_camera"][0].__setitem__(0, 9.0), "rigid transform"),
        (lambda v: v.update(version=2), "version = 2"),
        (lambda v: v.update(extra=1), "extra"),
        (lambda v: v.pop("id"), "is damaged"),
        (lambda v: v["cameras"].clear(), "cameras"),
        (lambda v: v["cameras"]["front"]["intrinsics"].update(width_px=0), "is damaged.*does not exist"),
        (lambda v: v["cameras"]["front"].update(reprojection_px=float("nan")), "reprojection_px = nan"),
    ],
)
def test_edited_file_is_refused(tmp_path, edit, sentence):
    path = tmp_path / "calibration.json"
    MADE.write(path)
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
    with pytest.raises(CalibrationError, match=sentence):
        Calibration.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"id"'])
def test_damaged_or_missing_file_is_refused(tmp_path, text):
    path = tmp_path / "calibration.json"
    with pytest.raises(CalibrationError, match="No such file"):
        Calibration.read(path)
    path.write_text(text)
    with pytest.raises(CalibrationError, match="is damaged"):
        Calibration.read(path)
