"""RealSense cameras by their serial numbers, behind realsense-ros's topics, where that driver is not installed.

One thread a camera waits for its frames and publishes them, so that one that is being opened again keeps no other
waiting. /diagnostics tells for each camera rate, age, measured latency, openings and what is wrong with it.
"""

import threading
import time
from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tmrl_ros.config import RealSenseCamera, RealSenseConfig
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import convert, runtime
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg, optical_frame
from tmrl_ros.nodes.diagnostics import ERROR, OK
from tmrl_ros.nodes.stream_diagnostics import StreamDiagnostics
from tmrl_ros.perception import realsense
from tmrl_ros.perception.link import Backoff, CameraLink
from tmrl_ros.perception.realsense import Pair, RealSense
from tmrl_ros.perception.stamps import Latency, StampMap

WAIT_S = 0.1  # for a frame, before the thread looks whether it is to end
LOOK_S = 0.5


class RealSenseNode(Node):
    """`find(serial)` gives the SDK's device or None; left out, the SDK looks for it on USB."""

    def __init__(self, find=None):
        super().__init__("realsense", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, RealSenseConfig)
        if not self.config.cameras:
            raise ConfigError("cameras is empty; name at least one, such as cameras.front.serial")
        find = find or partial(realsense.find, realsense.sdk().context())
        self.diagnostics, self.ending = StreamDiagnostics(self), threading.Event()
        self._streams = {name: Stream(self, name, camera, find) for name, camera in self.config.cameras.items()}
        self.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        for stream in self._streams.values():
            stream.thread.start()

    def _look(self):
        problems = {name: stream.link.problem for name, stream in self._streams.items()}
        for name, problem in problems.items():
            self.diagnostics.judge(name, ERROR if problem else OK, problem)
        if said := "; ".join(f"{name}: {problem}" for name, problem in problems.items() if problem):
            self.get_logger().error(said, throttle_duration_sec=5.0)

    def close(self):
        self.ending.set()
        for stream in self._streams.values():
            stream.thread.join()


class Stream:
    """One camera: its link, its publishers and the thread that serves them."""

    def __init__(self, node: RealSenseNode, name: str, camera: RealSenseCamera, find):
        c = node.config
        open_ = partial(RealSense, config=camera)
        backoff = Backoff(c.retry_first_s, c.retry_longest_s)
        self.link = CameraLink(partial(find, camera.serial), open_, backoff, c.silence_s)
        self.latency, self._stamps = Latency(), StampMap()
        self._node, self._name, self._frame = node, name, optical_frame(name)
        topics = camera_topics(f"camera/{name}")
        self._color, self._depth, self._info = (topic.publisher(node) for topic in topics)
        self.thread = threading.Thread(target=self._serve, name=name)
        node.diagnostics.expect(name, lambda: {**self.latency.take(), "openings": self.link.openings})

    def _serve(self):
        while not self._node.ending.is_set():
            pair = self.link.step(time.monotonic(), WAIT_S)
            if pair is not None:
                self._publish_while_running(pair)
            elif self.link.problem:
                self._node.ending.wait(WAIT_S)
        self.link.close()

    def _publish_while_running(self, pair: Pair):
        try:
            self._publish(pair)
        except RuntimeError:  # of rclpy, when a signal ended its context in between
            if self._node.context.ok():
                raise

    def _publish(self, pair: Pair):
        now_ns, host_ns = self._node.get_clock().now().nanoseconds, time.time_ns()
        stamps_ms = (pair.colour_ms, pair.depth_ms)
        color_ns, depth_ns = self._stamps.to_ros_ns(pair.clock, stamps_ms, host_ns, now_ns)
        self._info.publish(info_msg(color_ns, self._frame, pair.intrinsics, pair.distortion))
        self._color.publish(convert.image_msg(color_ns, self._frame, pair.colour))
        self._depth.publish(convert.image_msg(depth_ns, self._frame, pair.depth_mm))
        self.latency.add(color_ns, self._node.get_clock().now().nanoseconds)
        self._node.diagnostics.heard(self._name)


def main():
    runtime.run(RealSenseNode)
