"""Camera frames and the robot's values to observations: judged, joined, cropped, resized. Pure: callers bring the time.

A frame with a fault is dropped, and so is one without partners. Where that lasts as long as the limits allow, or the
robot falls silent, or images make no cloud, `hold` says so in a sentence and no observation comes until it is over.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from tmrl_ros.config import PerceptionConfig
from tmrl_ros.errors import CalibrationError, ConfigError, FrameError
from tmrl_ros.perception.align import Pace, StampAlign
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.faults import Frame, StreamMonitor
from tmrl_ros.perception.state import sources_of, state_of
from tmrl_ros.types import Observation

KEPT_NS = 300_000_000  # for how long a value waits for its partners
SET = "observation"  # the name under which problems of frames and values taken together stand


def lens_id(intrinsics: Intrinsics) -> str:
    """Names what a camera says of itself: a frame of another lens is not the one that was calibrated."""
    (fx, fy), (cx, cy) = intrinsics.focal_px, intrinsics.centre_px
    return f"{intrinsics.width_px}x{intrinsics.height_px} f {fx:.2f} {fy:.2f} c {cx:.2f} {cy:.2f}"


class Observer:
    """`streams` are the images to bring, by "camera/depth" and "camera/color"; `sources` the robot's values."""

    def __init__(self, config: PerceptionConfig, calibration: Calibration, now_s: float):
        self._config, self._waits = config, config.timing.waits
        self._cameras = _calibrated(config, calibration)
        self._names = config.state.split()
        on_hand = any(camera.mount == "eye_in_hand" for camera in self._cameras.values())
        self.sources = sources_of([*self._names, *(["tcp_position"] if on_hand else [])])
        self.streams = streams_of(config)
        self._monitors = {stream: self._monitor(stream, now_s) for stream in self.streams}
        self._heard_s = dict.fromkeys(self.sources, now_s)
        self._reference, self._pace = self.streams[0], Pace(config.timing.action_hz)
        self._align = StampAlign(self._reference, self._tolerances(), KEPT_NS)
        self._clouds = None  # built with the first pose of a camera on the hand
        self._problems: dict[str, str] = {}  # by stream or source: what is wrong with it now
        self._holds: dict[str, str] = {}
        self._bad_sets, self._joined_s = 0, now_s

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong now, by stream, source or "observation": a sentence each."""
        return self._problems | self._holds

    @property
    def hold(self) -> str:
        """Why the arm must not go on moving; empty where it may."""
        return "; ".join(self._holds.values())

    def counts(self, stream: str) -> dict[str, int]:
        """How often each fault of a stream was seen."""
        return {str(fault): count for fault, count in self._monitors[stream].counts.items()}

    def frame(self, stream: str, frame: Frame, now_ns: int, now_s: float) -> Observation | None:
        """One image, at ROS time now_ns and monotonic now_s; the observation that it completes."""
        verdict = self._monitors[stream].check(frame, frame.stamp_ns if self._waits else now_ns, now_s)
        if not verdict.usable:
            self._problems[stream] = "; ".join(verdict.reasons.values())
            if verdict.hold:
                self._holds[stream] = self._problems[stream]
            return None
        self._well(stream)
        return self._join(stream, frame.stamp_ns, frame.image, now_s)

    def value(self, source: str, stamp_ns: int, value, now_ns: int, now_s: float) -> Observation | None:
        """One value of the robot or of a tracker; the observation that it completes."""
        limits, age_s = self._config.stream, (now_ns - stamp_ns) * 1e-9
        if not self._waits and not -limits.future_s <= age_s <= limits.age_s:
            self._problems[source] = f"{source}: its stamp is {age_s:.3f} s old; synchronise the clocks"
            return None
        self._heard_s[source] = now_s
        self._well(source)
        return self._join(source, stamp_ns, value, now_s)

    def watch(self, now_s: float) -> None:
        """For a timer: who is silent for too long. Where ticks wait for their parts nobody is."""
        if self._waits:
            return
        for stream, monitor in self._monitors.items():
            if (verdict := monitor.overdue(now_s)).hold:
                self._holds[stream] = self._said(stream, "; ".join(verdict.reasons.values()))
        for source, heard_s in self._heard_s.items():
            if now_s - heard_s > self._config.stream.silence_s:
                self._holds[source] = self._said(source, f"{source}: nothing usable for {now_s - heard_s:.2f} s")
        if (apart_s := now_s - self._joined_s) > self._config.stream.silence_s:
            self._holds[SET] = self._said(SET, f"nothing fitted together for {apart_s:.2f} s")

    def _said(self, name, sentence):
        """A sentence on silence, with what was wrong with the last that came."""
        return f"{sentence} ({self._problems[name]})" if name in self._problems else sentence

    def _well(self, name):
        self._problems.pop(name, None)
        self._holds.pop(name, None)

    def _join(self, name, stamp_ns, value, now_s):
        joined = self._align.add(name, stamp_ns, value)
        for lacking in self._align.lacking():
            self._problems[SET] = "; ".join(self._lack(other, gap_s) for other, gap_s in lacking.items())
        if not joined:
            return None
        self._joined_s = now_s
        if not (self._waits or self._pace.due(joined[0])):
            return None
        try:
            observation = self._observation(*joined)
        except FrameError as error:
            self._refuse(str(error))
            return None
        self._bad_sets = 0
        self._well(SET)
        self._pace.took(joined[0])
        return None if self._holds else observation

    def _refuse(self, sentence):
        """Images that make no observation are dropped, and after the limit the arm must stand."""
        self._bad_sets += 1
        self._problems[SET] = sentence
        if self._bad_sets >= self._config.stream.bad_before_hold:
            self._holds[SET] = sentence

    def _lack(self, other, gap_s):
        allowed_s = self._tolerances()[other] * 1e-9
        if gap_s is None:
            return f"{other}: nothing heard to go with an image"
        return f"{other}: {gap_s:.3f} s from the image, {allowed_s:g} s are allowed"

    def _observation(self, stamp_ns, values) -> Observation:
        views = self._config.cameras
        depths = {name: values[f"{name}/depth"] for name, view in views.items() if view.cloud}
        colours = {name: values[f"{name}/color"] for name in views if f"{name}/color" in values}
        cloud = self._cloud(values).build(depths, colours) if depths else None
        images = {name: _resized(colours[name], view) for name, view in views.items() if view.width_px}
        return Observation(stamp_ns, state_of(self._names, values), images, cloud)

    def _cloud(self, values) -> CloudPipeline:
        seeing = {name: self._cameras[name] for name, view in self._config.cameras.items() if view.cloud}
        if self._clouds is None:
            models = {name: camera.camera(values.get("tcp")) for name, camera in seeing.items()}
            self._clouds = CloudPipeline(self._config.cloud, models, self._config.seed)
        else:
            for name, camera in seeing.items():
                if camera.mount == "eye_in_hand":
                    self._clouds.move(name, camera.camera(values["tcp"]))
        return self._clouds

    def _monitor(self, stream, now_s):
        camera, _, kind = stream.partition("/")
        changes = {} if kind == "depth" else {"encoding": "rgb8"}
        if self._waits:  # a simulated camera has no noise, and gives an image an observation
            changes |= {"frozen_frames": 0, "hz": float(self._config.timing.action_hz)}
        limits, lens = self._config.stream.model_copy(update=changes), self._cameras[camera].intrinsics
        return StreamMonitor(stream, limits, lens.size, lens_id(lens), now_s)

    def _tolerances(self) -> Mapping[str, int]:
        robot_s, camera_s = self._config.tolerance_s, self._config.camera_tolerance_s
        tolerances_s = dict.fromkeys(self.sources, robot_s) | dict.fromkeys(self.streams[1:], camera_s)
        return {name: 0 if self._waits else round(value * 1e9) for name, value in tolerances_s.items()}


def _calibrated(config, calibration):
    """The calibration of every camera that is looked through, and settings that go together, or an error."""
    missing = sorted(config.cameras.keys() - calibration.cameras.keys())
    if missing:
        there = ", ".join(sorted(calibration.cameras))
        raise CalibrationError(f"camera {missing[0]} is not in {config.calibration}, which has {there}; calibrate it")
    for name, view in config.cameras.items():
        if bool(view.width_px) != bool(view.height_px) or not (view.width_px or view.cloud):
            raise ConfigError(
                f"cameras.{name} is to give an image of {view.width_px}x{view.height_px} px and "
                f"{'a' if view.cloud else 'no'} cloud; set both sizes, or neither of them and cloud to true"
            )
    return {name: calibration.cameras[name] for name in config.cameras}


def streams_of(config: PerceptionConfig) -> list[str]:
    names = [f"{name}/depth" for name, view in config.cameras.items() if view.cloud]
    return names + [
        f"{name}/color"
        for name, view in config.cameras.items()
        if view.width_px or (view.cloud and config.cloud.colour)
    ]


def _resized(image, view) -> np.ndarray:
    return cv2.resize(image, (view.width_px, view.height_px), interpolation=cv2.INTER_AREA)
