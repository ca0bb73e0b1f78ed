"""What a session's messages look like: records in, things to draw out. Pure: knows neither ROS nor a viewer.

Everything is in the base frame, m, and carries the stamp of the message that it was made from.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tmrl_ros.config import PerceptionConfig, SafetyLimits
from tmrl_ros.errors import ConfigError, FrameError
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.perception.camera import CameraModel, Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.gate import DepthGate
from tmrl_ros.perception.overlay import AFTER, BEFORE, EDGE, overlay
from tmrl_ros.types import Mode, Observation

AROUND_M = 0.15  # beyond workspace and crop, raw points are left out
RAW_POINTS = 5000  # of an image, drawn at most; in the overlay too
OVERLAY_PX = 720  # height up to which an overlay is enlarged
TRACK, TRACK_STEP_M = 1000, 0.002  # places of the TCP's path, and how far apart they are
KEPT = 16  # images of a stream that wait for their observation
BACK_NS = 1_000_000_000  # by which stamps go back when another session, or the same bag, begins
WORKSPACE, PATH = (80, 160, 255), (255, 220, 60)  # rgb


@dataclass(frozen=True)
class Points:
    xyz: np.ndarray  # float32 [n, 3]
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    image: np.ndarray  # uint8 [height, width, 3], rgb
    frame: str  # the camera through whose lens it is seen, or a name that has no place


@dataclass(frozen=True)
class Box:
    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Track:
    """The TCP, and where it was."""

    places: np.ndarray  # float64 [n, 3], the last one is now
    rgb: tuple[int, int, int] = PATH


@dataclass(frozen=True)
class Lens:
    camera: str
    intrinsics: Intrinsics
    base_from_camera: np.ndarray  # float64 [4, 4]


@dataclass(frozen=True)
class Line:
    text: str
    level: str = "info"  # or warn, error


class Entry(NamedTuple):
    topic: str
    stamp_ns: int
    thing: Points | Picture | Box | Track | Lens | Line | dict[str, Any]  # a dict is numbers to plot


class Scene:
    """Of one deployment: its cameras, where they stand, the crop and the supervisor's workspace."""

    def __init__(self, config: PerceptionConfig, limits: SafetyLimits):
        self._config, self._limits = config, limits
        self._cameras = _calibrated(config)
        low = np.minimum(limits.workspace_min_m, config.cloud.crop_min_m) - AROUND_M
        self._around = low, np.maximum(limits.workspace_max_m, config.cloud.crop_max_m) + AROUND_M
        self._tolerance_ns = 0 if config.timing.waits else round(config.camera_tolerance_s * 1e9)
        self._seeing: dict[str, tuple[CameraModel, DepthGate, CloudPipeline]] = {}  # by camera, at its last pose
        self._forget()

    def _forget(self):
        self._newest_ns = 0
        self._last_ns: dict[str, int] = {}  # by stream
        self._images: dict[str, deque] = {}  # by stream: (stamp, image)
        self._poses: deque = deque(maxlen=KEPT)  # (stamp, pose [4, 4] of the TCP)
        self._track: deque = deque(maxlen=TRACK)
        self._observations: deque[Observation] = deque(maxlen=KEPT)
        self._said: dict[str, Any] = {}

    def standing(self) -> list[Entry]:
        """What does not move, at the newest stamp: to be said again for a viewer that comes late."""
        things: dict[str, Any] = {
            "/workspace": Box(self._limits.workspace_min_m, self._limits.workspace_max_m, WORKSPACE)
        }
        if any(view.cloud for view in self._config.cameras.values()):
            things["/crop"] = Box(self._config.cloud.crop_min_m, self._config.cloud.crop_max_m, EDGE)
        for name, camera in self._cameras.items():
            if camera.mount == "eye_to_hand":
                things[f"/camera/{name}/calibration"] = Lens(name, camera.intrinsics, camera.camera().base_from_camera)
        return [Entry(topic, self._newest_ns, thing) for topic, thing in things.items()]

    def draw(self, heard: Iterable[tuple], wanted: Callable[[str], bool] = lambda topic: True) -> list[Entry]:
        """Things for (stream, stamp_ns, value) of nodes/view.py; what is not `wanted` by topic is not worked out."""
        heard, entries, newest = list(heard), [], {}
        for stream, stamp_ns, value in heard:
            if stamp_ns < self._last_ns.get(stream, 0) - BACK_NS:
                self._forget()
            self._last_ns[stream], self._newest_ns = stamp_ns, max(self._newest_ns, stamp_ns)
            newest[stream] = stamp_ns, value
            if stream in ("decision", "episode", "status"):
                entries += getattr(self, f"_{stream}")(stamp_ns, value)
            elif stream == "tcp":
                self._move(stamp_ns, value)
            elif stream == "observation":
                self._observations.append(value)
            elif "/" in stream:
                self._images.setdefault(stream, deque(maxlen=KEPT)).append((stamp_ns, value))
        for stream, (stamp_ns, value) in newest.items():
            entries += self._newest(stream, stamp_ns, value, wanted)
        return entries + list(self._overlays(wanted))

    def refused(self, problems: dict[str, str]) -> list[Entry]:
        """A line for each stream of which messages are refused, once a reason."""
        return [
            Entry("/log", self._newest_ns, Line(f"{stream}: {reason}", "warn"))
            for stream, reason in problems.items()
            if self._new(f"refused {stream}", reason)
        ]

    # ---- session ----

    def _decision(self, stamp_ns, decision):
        numbers = {"reward": decision.reward, "success": float(decision.success), "episode": decision.episode}
        yield Entry("/decision", stamp_ns, numbers)
        if decision.source == Mode.POLICY:  # a person has none
            yield Entry("/sigma", stamp_ns, {"sigma": decision.modulation.sigma})

    def _status(self, stamp_ns, status):
        numbers = {
            "robot_time_min": status.robot_time_s / 60,
            "episodes": status.episodes,
            "successes": status.successes,
            "success": status.successes / max(1, status.episodes),
            "recent_success": status.recent_success,
            "holds": status.holds,
        }
        yield Entry("/session", stamp_ns, numbers)
        if self._new("status", (status.state, status.mode, status.reason)):
            level = "error" if status.mode == Mode.FAULT else "warn" if status.reason else "info"
            said = f"{status.state.name.lower()}, {status.mode.name}"
            yield Entry("/log", stamp_ns, Line(f"{said}: {status.reason}" if status.reason else said, level))

    def _episode(self, stamp_ns, event):
        if event.kind == "started":
            self._track.clear()
        reason = f", {event.reason}" if event.reason else ""
        yield Entry("/log", stamp_ns, Line(f"episode {event.episode} {event.kind}{reason}"))

    # ---- robot and cameras ----

    def _move(self, stamp_ns, pose):
        self._poses.append((stamp_ns, pose))
        place = pose[:3, 3]
        if not self._track or np.linalg.norm(place - self._track[-1]) >= TRACK_STEP_M:
            self._track.append(place)

    def _newest(self, stream, stamp_ns, value, wanted) -> Iterator[Entry]:
        if stream == "tcp":
            yield Entry("/tcp", stamp_ns, Track(np.array([*self._track, value[:3, 3]])))
        elif stream == "objects" and len(value):
            yield Entry("/objects", stamp_ns, Points(value.astype(np.float32), AFTER))
        elif stream == "observation" and value.cloud is not None:
            yield Entry("/cloud", stamp_ns, Points(value.cloud[:, :3], AFTER))
        elif stream.endswith("/color"):
            name = stream.partition("/")[0]
            yield Entry(f"/camera/{name}/color", stamp_ns, Picture(value, name))
            if self._cameras[name].mount == "eye_in_hand" and (model := self._model(name, stamp_ns)):
                lens = Lens(name, model.intrinsics, model.base_from_camera)
                yield Entry(f"/camera/{name}/calibration", stamp_ns, lens)
        elif stream.endswith("/depth") and wanted(f"/raw/{stream.partition('/')[0]}"):
            yield from self._raw(stream, stamp_ns, value)

    def _raw(self, stream, stamp_ns, depth):
        name = stream.partition("/")[0]
        if self._model(name, stamp_ns) is None:
            return
        try:
            points, _ = self._seen_by(name, stamp_ns)[1].points(depth)
        except FrameError as error:
            yield from self.refused({stream: str(error)})
        else:
            yield Entry(f"/raw/{name}", stamp_ns, Points(_thinned(points).T, BEFORE))

    def _overlays(self, wanted) -> Iterator[Entry]:
        """Of the newest observation whose images are there, once."""
        box = self._config.cloud.crop_min_m, self._config.cloud.crop_max_m
        for name in self._cameras:
            topic = f"/overlay/{name}"
            if not wanted(topic):
                continue
            for observation in reversed(self._observations):
                depth, colour = (self._at(f"{name}/{kind}", observation.stamp_ns) for kind in ("depth", "color"))
                if depth is None or colour is None or observation.cloud is None:
                    continue
                if self._model(name, observation.stamp_ns) and self._new(topic, observation.stamp_ns):
                    model, _, pipeline = self._seen_by(name, observation.stamp_ns)
                    try:
                        crop = _thinned(pipeline.crop({name: depth}))
                    except FrameError:  # said with the raw points
                        break
                    scale = max(1, OVERLAY_PX // len(colour))
                    picture = overlay(colour, model, crop, observation.cloud, *box, scale)
                    yield Entry(topic, observation.stamp_ns, Picture(picture, f"{name}_overlay"))
                break

    def _at(self, stream, stamp_ns):
        """The image nearest to a stamp, or None if none is near enough."""
        kept = self._images.get(stream, ())
        near_ns, image = min(((abs(at - stamp_ns), image) for at, image in kept), key=lambda e: e[0], default=(0, None))
        return image if near_ns <= self._tolerance_ns else None

    def _model(self, name, stamp_ns) -> CameraModel | None:
        """The camera at a stamp; None for one on the hand before the hand was heard."""
        camera = self._cameras[name]
        if camera.mount == "eye_to_hand":
            return camera.camera()
        if not self._poses:
            return None
        return camera.camera(min(self._poses, key=lambda entry: abs(entry[0] - stamp_ns))[1])

    def _seen_by(self, name, stamp_ns):
        """(camera, gate of the neighbourhood, pipeline of the crop); a pose that is new costs some 70 ms at 640x480."""
        model, known = self._model(name, stamp_ns), self._seeing.get(name)
        if known is None or not np.array_equal(known[0].base_from_camera, model.base_from_camera):
            cloud = self._config.cloud
            gate = DepthGate(model, *self._around, None, cloud.depth_unit_m)
            self._seeing[name] = model, gate, CloudPipeline(cloud, {name: model}, self._config.seed)
        return self._seeing[name]

    def _new(self, what, value) -> bool:
        """Whether it differs from what was said before."""
        changed = self._said.get(what) != value
        self._said[what] = value
        return changed


def _calibrated(config: PerceptionConfig):
    if not config.cameras:
        return {}
    if not config.calibration:
        raise ConfigError("perception.calibration is empty; name the file that `tmrl calibrate` wrote for the cameras")
    known = Calibration.read(Path(config.calibration)).cameras
    if missing := sorted(config.cameras.keys() - known.keys()):
        raise ConfigError(f"camera {missing[0]} is not in {config.calibration}, which has {', '.join(sorted(known))}")
    return {name: known[name] for name in config.cameras}


def _thinned(points: np.ndarray) -> np.ndarray:
    """At most RAW_POINTS of [3, n], evenly chosen."""
    return points[:, :: max(1, -(-points.shape[1] // RAW_POINTS))]
