"""`tmrl calibrate`: where a camera is, from views of the ChArUco board, in one file that the perception node reads.

OpenCV, SciPy and ROS are imported where they are used, so that other commands start fast.
"""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from tmrl_ros.config import BoardConfig, CalibrationLimits, PerceptionConfig, validate
from tmrl_ros.errors import ConfigError, DataError

BOARD = BoardConfig()
Mount = Literal["eye_to_hand", "eye_in_hand"]


def calibrate(
    camera: Annotated[str, typer.Argument(help="Name of the camera in the perception node's parameters.")],
    out: Annotated[Path, typer.Argument(help="Calibration file; one that exists keeps its other cameras.")],
    mount: Annotated[Mount, typer.Option(help="Camera beside the arm and board on the hand, or the other way round.")],
    serial: Annotated[str, typer.Option(help="Serial number of the device.")],
    bag: Annotated[Path | None, typer.Option(help="MCAP bag of images and poses; left out: live topics.")] = None,
    topic: Annotated[str, typer.Option(help="Beginning of the camera's topics; empty: camera/CAMERA.")] = "",
    pose_topic: Annotated[str, typer.Option(help="Pose of the hand in the base; empty: that of franka_ros2.")] = "",
    views: Annotated[int, typer.Option(min=4, help="Live: how many to take; Ctrl-C ends sooner.")] = 15,
    columns: Annotated[int, typer.Option(help="Squares along the board's x.")] = BOARD.columns,
    rows: Annotated[int, typer.Option(help="Squares along its y.")] = BOARD.rows,
    square_mm: Annotated[float, typer.Option(help="Edge of a square, measured on the print.")] = BOARD.square_m * 1000,
    marker_mm: Annotated[float, typer.Option(help="Edge of a marker.")] = BOARD.marker_m * 1000,
    dictionary: Annotated[str, typer.Option(help="Of its markers, as OpenCV names it.")] = BOARD.dictionary,
) -> None:
    """Find a camera's pose from views of the board: move the hand and let it rest, 8 times and more, tilted anew."""
    from tmrl_ros.nodes import calibration_messages as messages
    from tmrl_ros.perception.board import Board
    from tmrl_ros.perception.calibration import Calibration, CameraCalibration
    from tmrl_ros.perception.handeye import solve_hand_eye

    size = {"columns": columns, "rows": rows, "square_m": square_mm / 1000, "marker_m": marker_mm / 1000}
    board = Board(validate(BoardConfig, {**size, "dictionary": dictionary}))
    _check(camera, out, serial)
    others = dict(Calibration.read(out).cameras) if out.exists() else {}
    wanted = messages.sources(topic or f"camera/{camera}", pose_topic)
    heard = messages.from_bag(bag, wanted) if bag else messages.live(wanted)
    if not bag:
        names = ", ".join(source.name for source in wanted.values())
        print(f"listening on {names}; let the hand rest in {views} places, tilted anew each time", flush=True)
    collector, lens = _collect(heard, board, 0 if bag else views)
    solved = solve_hand_eye(collector.views, collector.base_from_gripper, lens, mount, CalibrationLimits())
    _report(solved)
    calibration = Calibration(cameras={**others, camera: CameraCalibration.of(serial, mount, lens, solved)})
    try:
        calibration.write(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); make room or choose another file") from None
    print(f"{out}: calibration {calibration.id} of {', '.join(calibration.cameras)}")


def _check(camera, out, serial):
    """What would spoil the result is said before the work."""
    validate(PerceptionConfig, {"cameras": {camera: {}}})
    if not serial.strip():
        raise ConfigError("--serial is empty; give the number on the device, so that no other is taken for it")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent} is not a folder; make it, or name another file")


def _collect(heard, board, enough):
    """Views until the source ends or `enough` (0: all) are taken, and the intrinsics, which must not change."""
    from tmrl_ros.perception.views import ViewCollector

    collector, lens = ViewCollector(board), None
    with closing(heard):
        try:
            for kind, stamp_ns, value in heard:
                if kind == "image":
                    collector.add_image(stamp_ns, value)
                elif kind == "pose":
                    if collector.add_pose(stamp_ns, value):
                        _say_view(collector)
                elif lens not in (None, value):
                    raise DataError(f"the camera's intrinsics changed from {lens} to {value}; record one setting alone")
                else:
                    lens = value
                if enough and len(collector.views) >= enough:
                    break
        except KeyboardInterrupt:
            if not enough:
                raise
    print("images: " + ", ".join(f"{count} {name}" for name, count in collector.counts.items()))
    if collector.refusal and not collector.views:
        raise DataError(f"no image shows the board while the hand rests: {collector.refusal}")
    if lens is None:
        raise DataError("no camera_info was heard; without it a pixel has no direction")
    return collector, lens


def _say_view(collector):
    x, y, z = collector.base_from_gripper[-1][:3, 3]
    corners = len(collector.views[-1].board_m)
    print(f"view {len(collector.views)}: {corners} corners, hand at ({x:.3f}, {y:.3f}, {z:.3f}) m", flush=True)


def _report(solved):
    x, y, z = solved.parent_from_camera[:3, 3]
    print(
        f"camera at ({x:.4f}, {y:.4f}, {z:.4f}) m in its parent's frame, from {solved.views} views\n"
        f"reprojection {solved.reprojection_px:.3f} px rms, arm included\n"
        f"board where the views put it: {1000 * solved.board_m:.2f} mm and {solved.board_deg:.3f} degrees rms apart\n"
        f"camera's position known to {1000 * solved.position_std_m:.2f} mm (standard deviation of the worst axis)"
    )
