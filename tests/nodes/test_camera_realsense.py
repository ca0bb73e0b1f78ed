"""The realsense node as a process, on the SDK's software_device: topics, stamps, diagnostics, and a lost camera."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("pyrealsense2", exc_type=ImportError)  # without libusb it does not load
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tmrl_ros.nodes import convert
from tmrl_ros.nodes.camera_topics import camera_topics, intrinsics_from

PROGRAM = Path(__file__).with_name("software_realsense.py")
OPTIONS = {
    **{f"cameras.{name}.serial": f"'{serial}'" for name, serial in {"front": 43, "side": 44}.items()},
    **{f"cameras.{name}.width_px": 128 for name in ("front", "side")},
    **{f"cameras.{name}.height_px": 96 for name in ("front", "side")},
    "silence_s": 0.5,
    "retry_first_s": 0.1,
    "retry_longest_s": 0.2,
}
PATIENCE_S = 20.0


class Listener(Node):
    def __init__(self, context):
        super().__init__("listener", context=context)
        self.heard = {"color": [], "depth": [], "info": [], "diagnostics": [], "side": []}
        camera_topics("camera/side").depth.subscribe(self, self.heard["side"].append)
        for name, topic in camera_topics("camera/front")._asdict().items():
            topic.subscribe(self, self.heard[name].append)
        self.create_subscription(DiagnosticArray, "/diagnostics", self.heard["diagnostics"].append, 10)
        self.spinner = SingleThreadedExecutor(context=context)
        self.spinner.add_node(self)

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, {name: len(messages) for name, messages in self.heard.items()}
            self.spinner.spin_once(timeout_sec=0.1)

    def status(self):
        """What /diagnostics said last of the camera."""
        told = [s for array in self.heard["diagnostics"] for s in array.status if s.name == "realsense: front"]
        return told[-1] if told else DiagnosticStatus(level=DiagnosticStatus.STALE)


@pytest.fixture
def listener(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv("GONE", str(tmp_path / "gone"))
    options = [part for name, value in OPTIONS.items() for part in ("-p", f"{name}:={value}")]
    process = subprocess.Popen([sys.executable, str(PROGRAM), "--ros-args", *options])
    node = Listener(ros_context)
    yield node
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    node.destroy_node()


def test_frames_arrive_on_realsense_topics_and_a_lost_camera_is_named_and_comes_back(listener, tmp_path):
    heard = listener.heard
    listener.until(lambda: len(heard["depth"]) > 5 and len(heard["color"]) > 5)
    color, depth, info = (heard[name][-1] for name in ("color", "depth", "info"))
    assert (color.encoding, depth.encoding) == ("rgb8", "16UC1")
    assert color.header.frame_id == depth.header.frame_id == info.header.frame_id == "front_color_optical_frame"
    assert convert.image_from(depth).shape == (96, 128) and 1000 in convert.image_from(depth)
    assert intrinsics_from(info).focal_px == (120.0, 120.0)
    ages_s = [time.time() - convert.stamp_of(message) * 1e-9 for message in (color, depth)]
    assert all(-0.01 < age_s < PATIENCE_S for age_s in ages_s), "stamps are not the host's time of acquisition"

    listener.until(lambda: heard["side"])
    assert (convert.image_from(heard["side"][-1]) <= 800).all(), "not the camera of that serial number"
    listener.until(lambda: listener.status().level == DiagnosticStatus.OK)
    figures = {pair.key: float(pair.value) for pair in listener.status().values}
    assert figures["openings"] == 1 and 0 <= figures["latency_median_ms"] <= figures["latency_max_ms"]

    (tmp_path / "gone").touch()
    listener.until(lambda: "is not connected" in listener.status().message)
    assert listener.status().level == DiagnosticStatus.ERROR
    before = len(heard["side"])
    listener.until(lambda: len(heard["side"]) > before + 5)
    (tmp_path / "gone").unlink()
    before = len(heard["color"])
    listener.until(lambda: len(heard["color"]) > before + 5)
    listener.until(lambda: listener.status().level == DiagnosticStatus.OK)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "cameras is empty; name at least one"),
        (["-p", "cameras.front.seriel:='1'"], "cameras.front.seriel is not a parameter of RealSenseCamera"),
    ],
)
def test_a_bad_parameter_is_one_sentence_and_status_2(options, sentence):
    command = [sys.executable, "-m", "tmrl_ros.nodes", "realsense", "--ros-args", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
