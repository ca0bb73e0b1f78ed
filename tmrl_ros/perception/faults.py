"""What can be wrong with a camera stream: each fault detected, named, counted, and said in a sentence.

Pure: the caller brings the frame, ROS time for stamps and monotonic time for silence.
"""

import zlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tmrl_ros.config import StreamLimits

ROWS = slice(None, None, 4)  # content is judged by every fourth row: sensor noise makes no two of them equal


class Fault(StrEnum):
    """Names as they stand in diagnostics; all but DROPPED refuse the frame."""

    ENCODING = "wrong_encoding"
    SIZE = "wrong_size"
    CALIBRATION = "calibration_changed"
    OUT_OF_ORDER = "out_of_order"
    FUTURE = "future_stamp"
    STALE = "stale_stamp"
    EMPTY = "empty_depth"
    NAN = "nan_depth"
    FROZEN = "frozen_image"
    DROPPED = "dropped_frames"
    SILENT = "silent"


HOLD_AT_ONCE = {Fault.CALIBRATION, Fault.FROZEN, Fault.SILENT}


@dataclass(frozen=True, slots=True)
class Frame:
    stamp_ns: int
    encoding: str
    image: np.ndarray  # [height, width] or [height, width, 3]
    calibration_id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons` has one sentence a fault; `hold`: the arm must not go on moving on this stream."""

    reasons: dict[Fault, str]
    hold: bool

    @property
    def usable(self) -> bool:
        return not self.reasons.keys() - {Fault.DROPPED}


class StreamMonitor:
    """Judges the frames of one stream; `counts` says how often each fault was seen (of DROPPED: how many frames)."""

    def __init__(self, name: str, limits: StreamLimits, size: tuple[int, int], calibration_id: str, now_s: float):
        self.counts: Counter[Fault] = Counter()
        self._name, self._limits, self._size, self._calibration_id = name, limits, size, calibration_id
        self._newest_ns: int | None = None
        self._content, self._repeats, self._bad, self._usable_s = None, 0, 0, now_s

    def check(self, frame: Frame, now_ns: int, now_s: float) -> Verdict:
        """Judge one frame at ROS time now_ns, monotonic time now_s."""
        found = self._form(frame) or self._time(frame, now_ns)
        if not found:
            found = self._gap(frame.stamp_ns) | self._content_faults(frame.image)
            self._newest_ns = frame.stamp_ns
        self.counts.update({fault: 1 for fault in found if fault != Fault.DROPPED})
        reasons = {fault: f"{self._name}: {sentence}" for fault, sentence in found.items()}
        usable = Verdict(reasons, False).usable
        self._bad = 0 if usable else self._bad + 1
        self._usable_s = now_s if usable else self._usable_s
        late = now_s - self._usable_s > self._limits.silence_s
        hold = late or bool(found.keys() & HOLD_AT_ONCE) or self._bad >= self._limits.bad_before_hold
        return Verdict(reasons, hold)

    def overdue(self, now_s: float) -> Verdict:
        """For a timer: whether a usable frame is missing for too long."""
        silent_s = now_s - self._usable_s
        if silent_s <= self._limits.silence_s:
            return Verdict({}, False)
        self.counts[Fault.SILENT] += 1
        return Verdict({Fault.SILENT: f"{self._name}: no usable frame for {silent_s:.2f} s"}, True)

    def _form(self, frame):
        limits, shape = self._limits, frame.image.shape[:2]
        if frame.encoding != limits.encoding:
            return {Fault.ENCODING: f"encoding is {frame.encoding!r}, not {limits.encoding!r}; set the camera's driver"}
        if shape != self._size:
            return {Fault.SIZE: f"images are {shape}, not {self._size} as calibrated; set the camera's driver"}
        if frame.calibration_id != self._calibration_id:
            return {
                Fault.CALIBRATION: f"calibration {frame.calibration_id!r} is not {self._calibration_id!r}, with which "
                "the session began; restart it"
            }
        return {}

    def _time(self, frame, now_ns):
        limits, age_s = self._limits, (now_ns - frame.stamp_ns) * 1e-9
        if age_s < -limits.future_s:
            return {Fault.FUTURE: f"stamp lies {-age_s:.3f} s in the future; synchronise the clocks"}
        if age_s > limits.age_s:
            return {Fault.STALE: f"image is {age_s:.3f} s old, {limits.age_s} s are allowed"}
        if self._newest_ns is not None and frame.stamp_ns <= self._newest_ns:
            return {Fault.OUT_OF_ORDER: f"stamp is {(self._newest_ns - frame.stamp_ns) * 1e-9:.3f} s before the last"}
        return {}

    def _gap(self, stamp_ns):
        """Frames that should have come since the last one."""
        missing = 0 if self._newest_ns is None else round((stamp_ns - self._newest_ns) * 1e-9 * self._limits.hz) - 1
        if missing < 1:
            return {}
        self.counts[Fault.DROPPED] += missing
        return {Fault.DROPPED: f"{missing} frames are missing before this one"}

    def _content_faults(self, image):
        limits, rows = self._limits, np.ascontiguousarray(image[ROWS])
        if found := _depth_faults(rows, limits.valid_share) if image.ndim == 2 else {}:
            return found  # images without content are equal without being frozen
        content = zlib.crc32(rows)
        self._repeats = self._repeats + 1 if content == self._content else 1
        self._content = content
        if 0 < limits.frozen_frames <= self._repeats:
            return {Fault.FROZEN: f"{self._repeats} images with new stamps are one and the same; restart the camera"}
        return {}


def _depth_faults(rows, valid_share):
    finite = np.isfinite(rows)
    share = np.count_nonzero(finite & (rows > 0)) / rows.size
    if share >= valid_share and share > 0:
        return {}
    sentence = f"{share:.1%} of the pixels see something, {valid_share:.1%} are needed"
    if np.count_nonzero(~finite) > rows.size / 2:
        return {Fault.NAN: f"{sentence}; most are not a number"}
    return {Fault.EMPTY: f"{sentence}; is the lens covered?"}
