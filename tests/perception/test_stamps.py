"""Frames' stamps in ROS time, the wait between tries, and a missing SDK: what needs no camera."""

import sys

import numpy as np
import pytest

from tmrl_ros.errors import ConfigError
from tmrl_ros.perception import realsense
from tmrl_ros.perception.link import Backoff, CameraLink
from tmrl_ros.perception.stamps import WINDOW, Latency, StampMap

MS = 1_000_000


def test_a_stamp_of_the_hosts_clock_stands_where_time_is_not_simulated():
    assert StampMap().to_ros_ns("host", [1000.5, 1000.25], 1_020_000_000, 1_020_000_000) == [
        1_000_500_000,
        1_000_250_000,
    ]


def test_a_stamp_of_the_hosts_clock_moves_with_simulated_time():
    assert StampMap().to_ros_ns("host", [1000.0], 1_020_000_000, 7_020_000_000) == [7_000_000_000]


def test_a_counters_stamp_is_its_delay_beyond_the_shortest_one():
    stamps, rng = StampMap(), np.random.default_rng(0)
    delays_ms = 20 + rng.exponential(5, 100)
    found = [
        stamps.to_ros_ns("device", [33.0 * k], 0, round((9000 + 33 * k + d) * MS))[0] for k, d in enumerate(delays_ms)
    ]
    off_ms = np.array(found) / MS - (9000 + 33.0 * np.arange(100))
    np.testing.assert_allclose(off_ms, np.minimum.accumulate(delays_ms), atol=1e-5)
    assert off_ms[-1] < 21


def test_the_stamps_of_a_pair_stay_as_far_apart_as_the_counter_has_them():
    color_ns, depth_ns = StampMap().to_ros_ns("device", [40.0, 35.0], 0, 100 * MS)
    assert (color_ns, depth_ns) == (100 * MS, 95 * MS)


def test_a_clock_that_drifts_is_followed_and_one_that_begins_again_is_started_anew():
    stamps, drift = StampMap(), 100e-6
    for k in range(20 * WINDOW):
        true_ms = 33.0 * k
        found = stamps.to_ros_ns("device", [true_ms * (1 - drift)], 0, round(true_ms * MS))[0]
    assert abs(found / MS - true_ms) <= drift * 33 * WINDOW + 1e-6
    assert stamps.to_ros_ns("device", [5.0], 0, 10**12)[0] == 10**12


def test_latency_is_told_once():
    latency = Latency()
    assert latency.take() == {}
    for delay_ms in (3, 1, 9):
        latency.add(50 * MS, (50 + delay_ms) * MS)
    assert latency.take() == {"latency_median_ms": 3.0, "latency_max_ms": 9.0}
    assert latency.take() == {}


def test_the_wait_doubles_up_to_its_longest_and_starts_anew_after_a_success():
    backoff = Backoff(0.5, 3.0)
    assert [backoff.failed() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.succeeded()
    assert backoff.failed() == 0.5


class Flaky:
    """A camera whose frames are what `says` holds; an exception is raised."""

    def __init__(self, *says):
        self.says, self.closed = list(says), False

    def read(self, timeout_s):
        if isinstance(self.says[0], Exception):
            raise self.says.pop(0)
        return self.says.pop(0)

    def close(self):
        self.closed = True


def test_an_absent_device_is_looked_for_less_and_less_often_and_named():
    tries = []
    link = CameraLink(lambda: tries.append(now_s), Flaky, Backoff(1.0, 4.0), 1.0)
    for now_s in np.arange(0, 20, 0.25):
        assert link.step(now_s, 0.0) is None
    assert tries == [0, 1, 3, 7, 11, 15, 19]
    assert link.problem == "is not connected" and link.openings == 0


def test_an_error_of_the_sdk_closes_the_camera_and_it_is_opened_again():
    camera = Flaky("a", RuntimeError("device disconnected"), "b")
    link = CameraLink(lambda: camera, lambda device: device, Backoff(1.0, 4.0), 1.0)
    assert link.step(0.0, 0.0) == "a"
    assert link.step(0.1, 0.0) is None and camera.closed
    assert link.problem == "device disconnected"
    assert link.step(1.2, 0.0) == "b" and link.problem == "" and link.openings == 2


def test_after_a_frame_the_next_failure_is_followed_by_the_first_wait_again():
    gone = [RuntimeError("gone")]
    cameras = [Flaky(*gone), Flaky(*gone), Flaky("a", *gone), Flaky("b")]
    link = CameraLink(lambda: cameras.pop(0), lambda device: device, Backoff(1.0, 8.0), 10.0)
    said = {now_s: link.step(now_s, 0.0) for now_s in (0.0, 1.0, 2.0, 3.0, 3.5, 4.0, 4.5)}
    assert [now_s for now_s, frame in said.items() if frame] == [3.0, 4.5]


def test_without_the_sdk_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(ConfigError, match="pip install pyrealsense2"):
        realsense.sdk()
