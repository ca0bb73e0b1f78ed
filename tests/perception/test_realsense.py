"""The RealSense driver on the SDK's own software_device: real queue, syncer and align, invented frames."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")  # before the SDK, see sdk(): other tests of this process may need both
pytest.importorskip("pyrealsense2", exc_type=ImportError)  # without libusb it does not load
import pyrealsense2 as rs
from software_camera import BLOCK_MM, FOCAL_COLOUR, HEIGHT, WALL_MM, WIDTH, SoftwareCamera, depth_image

from tmrl_ros.config import RealSenseCamera
from tmrl_ros.errors import ConfigError
from tmrl_ros.perception.link import Backoff, CameraLink
from tmrl_ros.perception.realsense import RealSense, find

START_MS, PERIOD_MS = 1.8e12, 1000 / 30  # as the host's clock: the syncer joins no frames of the first minutes


def config(**changes):
    return RealSenseCamera(**{"width_px": WIDTH, "height_px": HEIGHT} | changes)


def pairs(camera, opened, numbers, depth_counts=None):
    """Every pair that comes out for the frames of these numbers."""
    found = []
    for number in numbers:
        camera.feed(number, START_MS + number * PERIOD_MS, depth_counts=depth_counts)
        while (pair := opened.read(0.1)) is not None:
            found.append(pair)
    return found


@pytest.fixture
def camera():
    return SoftwareCamera()


@pytest.fixture
def opened(camera):
    made = RealSense(camera.device, config())
    yield made
    made.close()


def test_a_pair_has_the_pixels_stamps_and_lens_of_its_frames(camera, opened):
    found = pairs(camera, opened, range(1, 8))
    assert len(found) >= 5
    numbers = [int(pair.colour[0, 0, 0]) for pair in found]
    assert numbers == sorted(set(numbers))
    for number, pair in zip(numbers, found, strict=True):
        assert (pair.colour == number).all() and pair.colour.shape == (HEIGHT, WIDTH, 3)
        assert pair.clock == "host"
        assert pair.colour_ms == pair.depth_ms == pytest.approx(START_MS + number * PERIOD_MS, abs=1e-3)
        assert pair.intrinsics.focal_px == (FOCAL_COLOUR, FOCAL_COLOUR) and pair.intrinsics.size == (HEIGHT, WIDTH)
        assert not any(pair.distortion)


def test_depth_is_where_the_colour_camera_sees_it(camera, opened):
    """Columns 56 to 71 of depth, at 0.5 m, are at u = 120 (x - 0.05 m) / 0.5 m + 63.5 in colour: by hand 40 to 63."""
    depth = pairs(camera, opened, range(1, 8))[-1].depth_mm
    assert depth.shape == (HEIGHT, WIDTH) and depth.dtype == np.uint16
    block = np.flatnonzero(depth[HEIGHT // 2] == BLOCK_MM)
    assert block.min() == pytest.approx(40, abs=1) and block.max() == pytest.approx(63, abs=1)
    assert set(np.unique(depth)) <= {0, BLOCK_MM, WALL_MM}


def test_depth_comes_in_millimetres_whatever_the_device_counts_in():
    camera = SoftwareCamera(unit_m=0.0001)
    opened = RealSense(camera.device, config())
    found = pairs(camera, opened, range(1, 8), depth_image() * 10)
    opened.close()
    assert {BLOCK_MM, WALL_MM} <= set(np.unique(found[-1].depth_mm)) <= {0, BLOCK_MM, WALL_MM}


def test_a_counter_of_the_device_is_told_from_the_hosts_clock():
    camera = SoftwareCamera(clock="device")
    opened = RealSense(camera.device, config())
    assert pairs(camera, opened, range(1, 8))[-1].clock == "device"
    opened.close()


def test_silence_is_none_and_leaves_other_threads_running(opened):
    ran = threading.Event()
    threading.Timer(0.02, ran.set).start()
    assert opened.read(0.2) is None
    assert ran.is_set()


def test_settings_reach_the_sensors(camera):
    camera.add_option(camera.depth_sensor, rs.option.visual_preset, 0, 5, 1)
    camera.add_option(camera.depth_sensor, rs.option.exposure, 1, 165000, 8500)
    for sensor in (camera.depth_sensor, camera.colour_sensor):
        camera.add_option(sensor, rs.option.enable_auto_exposure, 0, 1, 1)
    camera.add_option(camera.colour_sensor, rs.option.exposure, 1, 10000, 156)
    RealSense(camera.device, config(preset="high_accuracy", depth_exposure_us=7000, exposure_us=5000)).close()
    assert camera.depth_sensor.get_option(rs.option.visual_preset) == int(rs.rs400_visual_preset.high_accuracy)
    assert camera.depth_sensor.get_option(rs.option.exposure) == 7000
    assert camera.colour_sensor.get_option(rs.option.exposure) == 50, "colour counts in 100 us"
    assert not camera.depth_sensor.get_option(rs.option.enable_auto_exposure)
    RealSense(camera.device, config()).close()
    assert camera.depth_sensor.get_option(rs.option.enable_auto_exposure)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width_px": 640}, r"no depth of 640x96 px at 30 Hz; valid: 128x96 at 30"),
        ({"fps": 90}, "valid: 128x96 at 30"),
        ({"preset": "hand"}, "has no setting visual_preset"),
        ({"exposure_us": 1_000_000}, r"exposure = 10000 is not possible; valid: 1 to 500"),
    ],
)
def test_a_setting_that_the_device_has_not_is_refused_and_the_device_given_back(camera, changes, sentence):
    camera.add_option(camera.colour_sensor, rs.option.exposure, 1, 500, 156)
    with pytest.raises(ConfigError, match=sentence):
        RealSense(camera.device, config(**changes))
    RealSense(camera.device, config()).close()


def test_a_camera_that_falls_silent_is_opened_again_and_goes_on(camera):
    link = CameraLink(lambda: camera.device, lambda device: RealSense(device, config()), Backoff(1.0, 4.0), 0.5)
    assert sum(fed(camera, link, number, 0.0) for number in range(1, 8)) >= 4
    assert link.problem == "" and link.openings == 1
    assert link.step(0.6, 0.01) is None
    assert "no frame for 0.6 s" in link.problem
    assert link.step(1.5, 0.01) is None and link.openings == 1, "before its wait is over it is left alone"
    assert sum(fed(camera, link, number, 1.7) for number in range(21, 28)) >= 4
    assert link.problem == "" and link.openings == 2
    link.close()


def fed(camera, link, number, now_s) -> bool:
    """Whether a pair came after the frames of this number."""
    pair = link.step(now_s, 0.01)
    camera.feed(number, START_MS + number * PERIOD_MS)
    return pair is not None or link.step(now_s, 0.1) is not None


class Context:
    """The part of rs.context that `find` uses: in SDK 2.59 query_devices names no software_device."""

    def __init__(self, *cameras):
        self._devices = [camera.device for camera in cameras]

    def query_devices(self):
        return self._devices


def test_a_device_is_found_by_its_serial_number():
    one, two = SoftwareCamera("1"), SoftwareCamera("2")
    assert find(Context(one, two), "2") is two.device
    assert find(Context(one, two), "3") is None
    assert find(Context(one), "") is one.device
    assert find(Context(), "") is None
    with pytest.raises(ConfigError, match="no serial is named; valid: 1, 2"):
        find(Context(one, two), "")


def test_without_devices_the_real_context_finds_none():
    assert find(rs.context(), "000000000000") is None
