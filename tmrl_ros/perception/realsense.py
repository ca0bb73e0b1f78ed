"""A RealSense camera through the SDK: what it is set to, and frames with depth aligned to colour.

pyrealsense2 is imported when the first camera is looked for: without one it need not be installed. Sensors are opened
one by one and joined by the SDK's syncer, which also takes a software_device: rs.pipeline finds none of those.
"""

import contextlib
from dataclasses import dataclass

import numpy as np

from tmrl_ros.config import RealSenseCamera
from tmrl_ros.errors import ConfigError, FrameError
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.perception.stamps import Clock

QUEUE = 4  # pairs that wait to be read: an old one is worth nothing
COLOUR_EXPOSURE_US = 100  # unit of the option on a colour sensor; on a depth sensor it is 1
MM_PER_M = 1000


def sdk():
    """The pyrealsense2 module, or ConfigError.

    Where rclpy is used, too, it must have been imported before: the other way round SDK 2.59 ends the process with a
    segmentation fault at its exit.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise ConfigError(
            f"pyrealsense2 does not load ({error}); install it with `pip install pyrealsense2`, which needs libusb, or "
            "run realsense-ros in place of this node"
        ) from None
    return pyrealsense2


@dataclass(frozen=True)
class Pair:
    """Colour, and depth as the colour camera would see it; stamps are the SDK's, intrinsics those of both."""

    colour: np.ndarray  # uint8 [height, width, 3], rgb
    depth_mm: np.ndarray  # uint16 [height, width], 0 where nothing is seen
    clock: Clock
    colour_ms: float
    depth_ms: float
    intrinsics: Intrinsics
    distortion: tuple[float, ...]  # the SDK's five coefficients, all 0 for a rectified camera


def find(context, serial: str):
    """The device of that serial number, None where it is absent; without a number the only one, or ConfigError."""
    rs = sdk()
    devices = {device.get_info(rs.camera_info.serial_number): device for device in context.query_devices()}
    if not serial and len(devices) > 1:
        raise ConfigError(f"several cameras are connected and no serial is named; valid: {', '.join(sorted(devices))}")
    return devices.get(serial) if serial else next(iter(devices.values()), None)


class RealSense:
    """An open device; `close` gives it back."""

    def __init__(self, device, config: RealSenseCamera):
        self._rs, self._config, self._started = sdk(), config, []
        self._syncer = self._rs.syncer(QUEUE)
        self._align = self._rs.align(self._rs.stream.color)
        rs = self._rs
        wanted = {rs.stream.depth: rs.format.z16, rs.stream.color: rs.format.rgb8}
        chosen = {kind: self._choose(device, kind, format_) for kind, format_ in wanted.items()}
        try:
            for kind, (sensor, profile) in chosen.items():
                self._set(sensor, is_depth=kind == rs.stream.depth)
                sensor.open([profile])
                self._started.append(sensor)
                sensor.start(self._syncer)
        except Exception:
            self.close()
            raise

    def read(self, timeout_s: float) -> Pair | None:
        """The next pair, or None where none came in that time."""
        came, frames = self._syncer.try_wait_for_frames(round(timeout_s * 1000))
        if not came or not frames.get_depth_frame() or not frames.get_color_frame():
            return None  # one of the two alone: the other was lost
        aligned = self._align.process(frames)
        depth, colour = aligned.get_depth_frame(), aligned.get_color_frame()
        lens = colour.profile.as_video_stream_profile().intrinsics
        clock, depth_clock = self._clock(colour), self._clock(depth)
        return Pair(
            colour=np.array(colour.get_data()),
            depth_mm=_millimetres(np.array(depth.get_data()), depth.get_units()),
            clock=clock,
            colour_ms=colour.timestamp,
            depth_ms=depth.timestamp if depth_clock == clock else colour.timestamp,  # the syncer found them equal
            intrinsics=Intrinsics(lens.width, lens.height, (lens.fx, lens.fy), (lens.ppx, lens.ppy)),
            distortion=tuple(lens.coeffs),
        )

    def close(self) -> None:
        while self._started:
            sensor = self._started.pop()
            for end in (sensor.stop, sensor.close):
                with contextlib.suppress(RuntimeError):  # a device that left cannot be stopped
                    end()

    def _choose(self, device, kind, format_):
        """The sensor and its profile of the wanted size and rate."""
        c, sizes = self._config, set()
        for sensor in device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() != kind or profile.format() != format_:
                    continue
                video = profile.as_video_stream_profile()
                if (video.width(), video.height(), profile.fps()) == (c.width_px, c.height_px, c.fps):
                    return sensor, profile
                sizes.add(f"{video.width()}x{video.height()} at {profile.fps()}")
        raise ConfigError(
            f"no {kind.name} of {c.width_px}x{c.height_px} px at {c.fps} Hz; valid: {', '.join(sorted(sizes)) or '-'}"
        )

    def _set(self, sensor, is_depth):
        rs, c, option = self._rs, self._config, self._rs.option
        if sensor.supports(option.global_time_enabled):
            sensor.set_option(option.global_time_enabled, 1)
        if is_depth and c.preset:  # before the exposure, which it sets too
            self._set_option(sensor, option.visual_preset, int(getattr(rs.rs400_visual_preset, c.preset)))
        exposure_us, unit_us = (c.depth_exposure_us, 1) if is_depth else (c.exposure_us, COLOUR_EXPOSURE_US)
        if sensor.supports(option.enable_auto_exposure):
            sensor.set_option(option.enable_auto_exposure, 0 if exposure_us else 1)
        if exposure_us:
            self._set_option(sensor, option.exposure, exposure_us / unit_us)

    def _set_option(self, sensor, option, value):
        if not sensor.supports(option):
            raise ConfigError(f"this camera has no setting {option.name}; leave it out")
        valid = sensor.get_option_range(option)
        if not valid.min <= value <= valid.max:
            raise ConfigError(f"{option.name} = {value:g} is not possible; valid: {valid.min:g} to {valid.max:g}")
        sensor.set_option(option, value)

    def _clock(self, frame) -> Clock:
        domain = frame.get_frame_timestamp_domain()
        return "device" if domain == self._rs.timestamp_domain.hardware_clock else "host"


def _millimetres(counts, unit_m):
    """uint16 mm of depth counts, whatever unit the device counts in."""
    if abs(unit_m * MM_PER_M - 1) < 1e-4:
        return counts
    if unit_m <= 0:
        raise FrameError(f"the device says a depth count is {unit_m} m; it must be more than 0")
    return np.clip(np.round(counts * (unit_m * MM_PER_M)), 0, 65535).astype(np.uint16)
