"""Keeps one camera open: found by its serial number, and opened again when it falls silent or leaves."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tmrl_ros.errors import FrameError, TmrlError

Found = TypeVar("Found")
Read = TypeVar("Read", covariant=True)


class Camera(Protocol[Read]):
    def read(self, timeout_s: float) -> Read | None:
        """The next frame, or None where none came in that time; RuntimeError where the device is gone."""

    def close(self) -> None:
        """Give the device back; raises nothing, also where the device is gone."""


class Backoff:
    """How long to wait before the next try: twice as long after each failure, from first_s up to longest_s."""

    def __init__(self, first_s: float, longest_s: float):
        self._first_s, self._longest_s, self._next_s = first_s, longest_s, first_s

    def failed(self) -> float:
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return wait_s

    def succeeded(self) -> None:
        self._next_s = self._first_s


class CameraLink(Generic[Found, Read]):
    """`find` gives a device or None, `open_` a camera of it; `problem` says in a sentence why there is no frame."""

    def __init__(
        self,
        find: Callable[[], Found | None],
        open_: Callable[[Found], Camera[Read]],
        backoff: Backoff,
        silence_s: float,
    ):
        self._find, self._open, self._backoff, self._silence_s = find, open_, backoff, silence_s
        self._camera: Camera[Read] | None = None
        self._retry_s, self._heard_s = float("-inf"), 0.0
        self.problem = "not opened yet"
        self.openings = 0  # so often was it opened; beyond the first they are reconnections

    def step(self, now_s: float, timeout_s: float) -> Read | None:
        """The next frame, waiting at most timeout_s for it; opens the camera where that is due at monotonic now_s."""
        try:
            if self._camera is None:
                if now_s < self._retry_s:
                    return None
                self._camera = self._opened()
                self._heard_s = now_s
            frame = self._camera.read(timeout_s)
            if frame is None and now_s - self._heard_s > self._silence_s:
                raise FrameError(
                    f"no frame for {now_s - self._heard_s:.1f} s; check its cable and that nobody else uses it"
                )
        except (TmrlError, RuntimeError) as error:  # the SDK raises RuntimeError for whatever it is
            self._give_up(str(error), now_s)
            return None
        if frame is not None:
            self._heard_s, self.problem = now_s, ""
            self._backoff.succeeded()
        return frame

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera:
            camera.close()

    def _opened(self):
        device = self._find()
        if device is None:
            raise FrameError("is not connected")
        camera = self._open(device)
        self.openings += 1
        return camera

    def _give_up(self, problem, now_s):
        self.close()
        self._retry_s = now_s + self._backoff.failed()
        self.problem = problem
