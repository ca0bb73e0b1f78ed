"""The SDK's own software_device as a camera: frames go through its real queue, syncer and align."""

import numpy as np
import pyrealsense2 as rs

WIDTH, HEIGHT, FPS = 128, 96, 30
FOCAL_COLOUR, FOCAL_DEPTH = 120.0, 80.0
BASELINE_M = 0.05  # of colour to the right of depth
WALL_MM, BLOCK_MM = 1000, 500
DEFAULT_UNIT_M = 0.001


def lens(focal_px):
    made = rs.intrinsics()
    made.width, made.height, made.fx, made.fy = WIDTH, HEIGHT, focal_px, focal_px
    made.ppx, made.ppy, made.model, made.coeffs = (
        (WIDTH - 1) / 2,
        (HEIGHT - 1) / 2,
        rs.distortion.brown_conrady,
        [0] * 5,
    )
    return made


def depth_image():
    """uint16 mm: a wall, and before it a block over the middle columns."""
    depth = np.full((HEIGHT, WIDTH), WALL_MM, np.uint16)
    depth[:, 56:72] = BLOCK_MM
    return depth


class SoftwareCamera:
    def __init__(self, serial="42", clock="host", unit_m=DEFAULT_UNIT_M):
        self.device, self._unit_m = rs.software_device(), unit_m
        self._domain = rs.timestamp_domain.hardware_clock if clock == "device" else rs.timestamp_domain.global_time
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.depth_sensor, self.colour_sensor = (self.device.add_sensor(n) for n in ("Stereo Module", "RGB Camera"))
        self._depth = self.depth_sensor.add_video_stream(stream(rs.stream.depth, rs.format.z16, 2, FOCAL_DEPTH, 1))
        self._colour = self.colour_sensor.add_video_stream(stream(rs.stream.color, rs.format.rgb8, 3, FOCAL_COLOUR, 2))
        self.depth_sensor.add_read_only_option(rs.option.depth_units, unit_m)
        shift = rs.extrinsics()
        shift.rotation, shift.translation = np.eye(3).ravel().tolist(), [-BASELINE_M, 0, 0]
        self._depth.register_extrinsics_to(self._colour, shift)
        self.device.create_matcher(rs.matchers.default)

    def add_option(self, sensor, option, low, high, default):
        span = rs.option_range()
        span.min, span.max, span.default, span.step = low, high, default, 1
        sensor.add_option(option, span, True)

    def feed(self, number, stamp_ms, colour=None, depth_counts=None):
        """One pair of frames into the SDK."""
        colour = np.full((HEIGHT, WIDTH, 3), number % 256, np.uint8) if colour is None else colour
        depth = depth_image() if depth_counts is None else depth_counts
        parts = ((self.depth_sensor, self._depth, depth, 2), (self.colour_sensor, self._colour, colour, 3))
        for sensor, profile, pixels, bytes_px in parts:
            frame = rs.software_video_frame()
            frame.pixels, frame.stride, frame.bpp = pixels, WIDTH * bytes_px, bytes_px
            frame.timestamp, frame.domain, frame.frame_number = stamp_ms, self._domain, number
            frame.profile = profile.as_video_stream_profile()
            if bytes_px == 2:
                frame.depth_units = self._unit_m
            sensor.on_video_frame(frame)


def stream(kind, format_, bytes_px, focal_px, uid):
    made = rs.video_stream()
    made.type, made.index, made.uid, made.width, made.height, made.fps = kind, 0, uid, WIDTH, HEIGHT, FPS
    made.bpp, made.fmt, made.intrinsics = bytes_px, format_, lens(focal_px)
    return made
