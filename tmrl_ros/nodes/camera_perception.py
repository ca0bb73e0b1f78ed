"""Cameras and the robot's topics into an Observer, and what it makes out of it: observations, and why there are none.

A fault that lasts is told at once on /diagnostics: the status "perception: observation" is ERROR, its message says why,
and nothing is published on `observation` until it is OK again.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tmrl_ros.config import PerceptionConfig
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.nodes import convert, topics
from tmrl_ros.nodes.camera_topics import camera_topics, intrinsics_from
from tmrl_ros.nodes.diagnostics import ERROR, OK, WARN
from tmrl_ros.nodes.robot_values import SOURCES
from tmrl_ros.nodes.stream_diagnostics import StreamDiagnostics
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.perception.faults import Frame
from tmrl_ros.perception.observer import Observer, lens_id
from tmrl_ros.perception.stamps import Latency

WATCH_S = 0.02  # of wall time, between looks for silence
EARLY_IMAGES = 8  # that may come before their camera's first camera_info
OUT = "observation"


class CameraPerception:
    """Everything that the perception node does where it has cameras; `node` is an rclpy node."""

    def __init__(self, node: Node, config: PerceptionConfig):
        if not config.calibration:
            raise ConfigError("calibration is empty; name the file that `tmrl calibrate` wrote for the cameras")
        self._node, self._config, self._held = node, config, ""
        self.observer = Observer(config, Calibration.read(Path(config.calibration)), time.monotonic())
        self._lenses: dict[str, str] = {}  # by camera: what its camera_info says
        self._infos: dict[str, tuple] = {}
        self._early = {name: [] for name in config.cameras}
        self._latency, self._diagnostics = Latency(), StreamDiagnostics(node)
        self._publisher = topics.OBSERVATION.lossless(config.timing.waits).publisher(node)
        self._listen()
        node.create_timer(WATCH_S, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _listen(self):
        waits = self._config.timing.waits
        for camera, view in self._config.cameras.items():
            image_topics = camera_topics(view.topic or f"camera/{camera}")
            image_topics.info.sensed(waits).subscribe(self._node, partial(self._on_info, camera))
            for kind in ("depth", "color"):
                stream = f"{camera}/{kind}"
                if stream in self.observer.streams:
                    image = getattr(image_topics, kind).sensed(waits)
                    image.subscribe(self._node, partial(self._on_image, stream))
                    self._diagnostics.expect(stream, partial(self.observer.counts, stream))
        for source in self.observer.sources:
            topic, value_of = SOURCES[source]
            topic.sensed(waits).subscribe(self._node, partial(self._on_value, source, value_of))
            self._diagnostics.expect(source)
        self._diagnostics.expect(OUT, self._latency.take)

    # ---- what comes in ----

    def _on_info(self, camera, message):
        said = (message.width, message.height, tuple(message.k), tuple(message.d))
        if said == self._infos.get(camera):
            return
        self._infos[camera] = said
        try:
            self._lenses[camera] = lens_id(intrinsics_from(message))
        except (DataError, ConfigError) as error:
            self._lenses[camera] = f"refused: {error}"
            self._node.get_logger().error(f"{camera}: {error}")
        early, self._early[camera] = self._early[camera], []
        for stream, image in early:
            self._judge(stream, image)

    def _on_image(self, stream, message):
        self._diagnostics.heard(stream)
        camera = stream.partition("/")[0]
        if camera in self._lenses:
            self._judge(stream, message)
        else:
            self._early[camera] = [*self._early[camera], (stream, message)][-EARLY_IMAGES:]
            self._node.get_logger().warning(f"{camera}: images, but no camera_info yet", throttle_duration_sec=1.0)

    def _judge(self, stream, message):
        try:
            image = convert.image_from(message)
        except DataError as error:
            self._node.get_logger().error(f"{stream}: {error}", throttle_duration_sec=1.0)
            image = np.empty((0, 0), np.uint16)  # whose encoding or size is refused
        frame = Frame(convert.stamp_of(message), message.encoding, image, self._lenses[stream.partition("/")[0]])
        self._publish(self.observer.frame(stream, frame, self._now_ns(), time.monotonic()))

    def _on_value(self, source, value_of, message):
        self._diagnostics.heard(source)
        try:
            value = value_of(message)
        except DataError as error:  # the value is dropped: its silence is seen
            self._node.get_logger().error(f"{source}: {error}", throttle_duration_sec=1.0)
            return
        self._publish(self.observer.value(source, convert.stamp_of(message), value, self._now_ns(), time.monotonic()))

    def _now_ns(self):
        return self._node.get_clock().now().nanoseconds

    # ---- what goes out ----

    def _publish(self, observation):
        if observation is not None:
            self._publisher.publish(convert.to_msg(observation))
            self._diagnostics.heard(OUT)
            if not self._config.timing.waits:  # there, time is not the clock's
                self._latency.add(observation.stamp_ns, self._now_ns())
        self._tell()

    def _watch(self):
        self.observer.watch(time.monotonic())
        problems = self.observer.problems
        for name in (*self.observer.streams, *self.observer.sources):
            self._diagnostics.judge(name, WARN if name in problems else OK, problems.get(name, ""))
        self._tell()
        if problems:
            self._node.get_logger().warning("; ".join(problems.values()), throttle_duration_sec=1.0)

    def _tell(self):
        """Begin and end of a hold, said when it happens."""
        hold = self.observer.hold
        if bool(hold) != bool(self._held):
            self._diagnostics.tell(OUT, ERROR if hold else OK, hold or "publishing")
            log = self._node.get_logger()
            log.error(f"no observations: {hold}") if hold else log.info("observations again")
        elif hold:
            self._diagnostics.judge(OUT, ERROR, hold)
        self._held = hold
