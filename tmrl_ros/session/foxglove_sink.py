"""Things of scene.py to Foxglove's messages: over a WebSocket on this machine alone, into an MCAP file, or both.

The server listens on 127.0.0.1 and offers no parameters, services or topics to write to: who connects can look, and no
more. A viewer that is too slow loses the oldest messages (BACKLOG); what nobody subscribed to is not even made.
"""

from functools import singledispatch
from pathlib import Path

import cv2
import foxglove
import numpy as np
from foxglove import channels, messages
from scipy.spatial.transform import Rotation

from tmrl_ros import fr3
from tmrl_ros.errors import ConfigError
from tmrl_ros.session.scene import Box, Entry, Lens, Line, Picture, Points, Track

HOST, BACKLOG = "127.0.0.1", 64
TF = "/tf"  # where viewers look for the places of frames
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85]
TCP_M, PATH_PX = 0.02, 3.0
LEVELS = {"info": messages.LogLevel.Info, "warn": messages.LogLevel.Warning, "error": messages.LogLevel.Error}
XYZ = [
    messages.PackedElementField(name=axis, offset=4 * k, type=messages.PackedElementFieldNumericType.Float32)
    for k, axis in enumerate("xyz")
]
RGBA = [
    messages.PackedElementField(name=name, offset=12 + k, type=messages.PackedElementFieldNumericType.Uint8)
    for k, name in enumerate(("red", "green", "blue", "alpha"))
]


class FoxgloveSink:
    """`port` 0 takes a free one; `port` of the object is the one that it listens on."""

    def __init__(self, port: int, file: Path | None = None):
        self._context, self._channels = foxglove.Context(), {}
        try:
            self._server = foxglove.start_server(
                name="tmrl", host=HOST, port=port, context=self._context, message_backlog_size=BACKLOG
            )
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"port {port} of {HOST} cannot be listened on ({error}); choose another") from None
        self.port = self._server.port
        self._writer = self._open(file) if file else None

    def _open(self, file):
        try:
            return foxglove.open_mcap(file, context=self._context)
        except OSError as error:
            raise ConfigError(f"{file} cannot be written ({error}); name a file that does not exist yet") from None

    def wanted(self, topic: str) -> bool:
        """Whether anyone looks at a topic, or may yet learn that it is there."""
        return topic not in self._channels or self._channels[topic].has_sinks()

    def log(self, entry: Entry) -> None:
        topics = (entry.topic, TF) if isinstance(entry.thing, Lens) else (entry.topic,)
        if any(self.wanted(topic) for topic in topics):
            for topic, message in _messages(entry.thing, entry.topic, entry.stamp_ns):
                self._channel(topic, message).log(message, log_time=entry.stamp_ns)

    def close(self) -> None:
        self._server.stop()
        if self._writer:
            self._writer.close()

    def _channel(self, topic, message):
        if topic not in self._channels:
            if isinstance(message, dict):
                properties = {name: {"type": "number"} for name in message}
                schema = {"type": "object", "title": topic[1:], "properties": properties}
                self._channels[topic] = foxglove.Channel(topic, schema=schema, context=self._context)
            else:
                kind = getattr(channels, f"{type(message).__name__}Channel")
                self._channels[topic] = kind(topic, context=self._context)
        return self._channels[topic]


@singledispatch
def _messages(thing, topic: str, stamp_ns: int) -> list[tuple]:
    """(topic, message) of a thing."""
    return [(topic, thing)]


@_messages.register
def _(points: Points, topic, stamp_ns):
    rows = np.empty(len(points.xyz), [("xyz", "<f4", 3), ("rgba", "u1", 4)])
    rows["xyz"], rows["rgba"] = points.xyz, (*points.rgb, 255)
    cloud = messages.PointCloud(
        timestamp=_time(stamp_ns),
        frame_id=fr3.BASE_FRAME,
        pose=_pose(),
        point_stride=rows.itemsize,
        fields=XYZ + RGBA,
        data=rows.tobytes(),
    )
    return [(topic, cloud)]


@_messages.register
def _(picture: Picture, topic, stamp_ns):
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR), JPEG)
    image = messages.CompressedImage(
        timestamp=_time(stamp_ns), frame_id=picture.frame, data=jpeg.tobytes(), format="jpeg"
    )
    return [(topic, image)]


@_messages.register
def _(box: Box, topic, stamp_ns):
    low, high = np.array(box.low_m), np.array(box.high_m)
    cube = messages.CubePrimitive(pose=_pose((low + high) / 2), size=_vector(high - low), color=_colour(box.rgb, 0.12))
    return [(topic, _entity(topic, stamp_ns, cubes=[cube]))]


@_messages.register
def _(track: Track, topic, stamp_ns):
    size = _vector((TCP_M,) * 3)
    tcp = messages.SpherePrimitive(pose=_pose(track.places[-1]), size=size, color=_colour(track.rgb))
    path = messages.LinePrimitive(
        pose=_pose(),
        thickness=PATH_PX,
        scale_invariant=True,
        points=[messages.Point3(x=x, y=y, z=z) for x, y, z in track.places.tolist()],
        color=_colour(track.rgb),
    )
    return [(topic, _entity(topic, stamp_ns, spheres=[tcp], lines=[path]))]


@_messages.register
def _(lens: Lens, topic, stamp_ns):
    k = lens.intrinsics.matrix
    calibration = messages.CameraCalibration(
        timestamp=_time(stamp_ns),
        frame_id=lens.camera,
        width=lens.intrinsics.width_px,
        height=lens.intrinsics.height_px,
        distortion_model="plumb_bob",
        D=[0.0] * 5,
        K=k.ravel().tolist(),
        R=np.eye(3).ravel().tolist(),
        P=np.hstack([k, np.zeros((3, 1))]).ravel().tolist(),
    )
    x, y, z, w = Rotation.from_matrix(lens.base_from_camera[:3, :3]).as_quat().tolist()
    transform = messages.FrameTransform(
        timestamp=_time(stamp_ns),
        parent_frame_id=fr3.BASE_FRAME,
        child_frame_id=lens.camera,
        translation=_vector(lens.base_from_camera[:3, 3]),
        rotation=messages.Quaternion(x=x, y=y, z=z, w=w),
    )
    return [(topic, calibration), (TF, messages.FrameTransforms(transforms=[transform]))]


@_messages.register
def _(line: Line, topic, stamp_ns):
    return [(topic, messages.Log(timestamp=_time(stamp_ns), level=LEVELS[line.level], message=line.text, name="tmrl"))]


def _entity(topic, stamp_ns, **primitives):
    entity = messages.SceneEntity(timestamp=_time(stamp_ns), frame_id=fr3.BASE_FRAME, id=topic, **primitives)
    return messages.SceneUpdate(entities=[entity])


def _time(stamp_ns):
    return messages.Timestamp(sec=stamp_ns // 10**9, nsec=stamp_ns % 10**9)


def _vector(values):
    x, y, z = (float(value) for value in values)
    return messages.Vector3(x=x, y=y, z=z)


def _pose(position=(0.0, 0.0, 0.0)):
    return messages.Pose(position=_vector(position), orientation=messages.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0))


def _colour(rgb, alpha=1.0):
    red, green, blue = (value / 255 for value in rgb)
    return messages.Color(r=red, g=green, b=blue, a=alpha)
