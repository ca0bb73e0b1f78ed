"""Gamepads and SpaceMice, as their ROS drivers report them: numbered axes in [-1, 1] and buttons."""

from collections.abc import Sequence

import numpy as np

from tmrl_ros.config import SpacenavMap
from tmrl_ros.errors import ActionError
from tmrl_ros.teleop.presses import Presses
from tmrl_ros.types import TeleopCommand

LONG_PRESS_S = 1.0  # of keep_button: discard, on a device with too few buttons


def velocity_share(axes: Sequence[float], mapping: SpacenavMap) -> np.ndarray:
    """Velocity [3] as a share of the limit in [-1, 1], base frame; beyond the dead-band it grows from 0."""
    if max(mapping.axes) >= len(axes) or min(mapping.axes) < 0:
        raise ActionError(f"axes {mapping.axes} are wanted of a device with {len(axes)}; correct the mapping's axes")
    deflection = np.array([axes[index] for index in mapping.axes], float)
    if not np.isfinite(deflection).all():
        raise ActionError(f"the device reports {deflection.tolist()}; check its driver")
    beyond = np.maximum(np.abs(deflection) - mapping.dead_band, 0.0) / (1.0 - mapping.dead_band)
    return np.clip(np.sign(deflection) * beyond * mapping.scales, -1.0, 1.0)


class MappedDevice:
    """One device; `hear` what it says, ask for a `command` at each observation."""

    def __init__(self, mapping: SpacenavMap, lost_s: float):
        self.mapping, self.lost_s = mapping, lost_s
        self.presses = Presses()
        self._velocity = np.zeros(3)
        self._down: dict[int, bool] = {}
        self._keep_since_s: float | None = None
        self._heard_s: float | None = None
        self._used_s = -np.inf

    def hear(self, axes: Sequence[float], buttons: Sequence[int], now_s: float) -> None:
        """One Joy message. A button that it does not carry is as it was: spacenav_node says only what changes."""
        self._velocity = velocity_share(axes, self.mapping)
        self._heard_s = now_s
        before, self._down = self._down, {**self._down, **{index: bool(value) for index, value in enumerate(buttons)}}
        pressed = {index for index, down in self._down.items() if down and not before.get(index)}
        self._note_use(now_s)
        if self.mapping.grip_button in pressed:
            self.presses.grip()
        if self.mapping.discard_button in pressed:
            self.presses.say("discard")
        elif self.mapping.discard_button < 0:
            self._keep_or_discard(now_s)
        elif self.mapping.keep_button in pressed:
            self.presses.say("keep")

    def command(self, stamp_ns: int, now_s: float) -> TeleopCommand | None:
        """The wish at this observation; None if the device is lost, which must end in a hold."""
        if self._heard_s is None or now_s - self._heard_s > self.lost_s:
            return None
        self._note_use(now_s)
        return TeleopCommand(stamp_ns, self._velocity, clutch=self._is_taken(now_s), **self.presses.take())

    def _note_use(self, now_s: float) -> None:
        """Moving the arm or the hand is use; keep and discard are said without taking the arm."""
        if self._velocity.any() or self._down.get(self.mapping.grip_button, False):
            self._used_s = now_s

    def _is_taken(self, now_s: float) -> bool:
        if self.mapping.clutch_button >= 0:
            return self._down.get(self.mapping.clutch_button, False)
        return now_s - self._used_s <= self.mapping.release_s

    def _keep_or_discard(self, now_s: float) -> None:
        """With one button for both: released soon it keeps, held on it discards."""
        down = self._down.get(self.mapping.keep_button, False)
        if not down:
            if self._keep_since_s is not None and np.isfinite(self._keep_since_s):
                self.presses.say("keep")
            self._keep_since_s = None
        elif self._keep_since_s is None:
            self._keep_since_s = now_s
        elif now_s - self._keep_since_s >= LONG_PRESS_S:
            self.presses.say("discard")
            self._keep_since_s = np.inf  # said once, and its release says nothing
