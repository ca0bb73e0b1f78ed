"""A GELLO: a small copy of the arm in a person's hand. The arm follows how far the TCP of the copy was moved.

It is relative: what counts is the way since the device was taken, so nothing moves the arm when it is. What the arm was
asked for since then is subtracted from that way, so the arm follows it, as fast as it may, however fast the hand was.
Of a way that it cannot make within `lag_s` the rest is forgotten, so it stands soon after the hand does.
"""

from collections.abc import Sequence

import numpy as np

from tmrl_ros import kinematics
from tmrl_ros.config import GelloMap
from tmrl_ros.errors import ActionError
from tmrl_ros.teleop.presses import Presses
from tmrl_ros.types import TeleopCommand


class GelloDevice:
    """`hear` joints, trigger and buttons as they come, ask for a `command` at each observation, `row_s` apart."""

    def __init__(self, mapping: GelloMap, lost_s: float, row_s: float):
        self.mapping, self.lost_s = mapping, lost_s
        self.presses = Presses()
        self._lag_m = mapping.lag_s / row_s * mapping.step_m
        self._tcp_m = np.zeros(3)  # of the device, in its base frame
        self._rest_m = np.zeros(3)  # where it was last seen to move
        self._origin_m, self._asked_m = np.zeros((2, 3))  # where it was taken, and what the arm was asked for since
        self._taken = False
        self._heard_s = self._moved_s = self._pedal_s = -np.inf
        self._down: dict[int, bool] = {}

    def hear_joints(self, position_rad: Sequence[float], now_s: float) -> None:
        """Joint positions [7] in the arm's order; ActionError, and the device counts as lost, if they cannot be."""
        q = np.asarray(position_rad, float)
        if q.shape != (7,) or not np.isfinite(q).all() or (np.abs(q) > 2 * np.pi).any():
            raise ActionError(
                f"the GELLO reports {np.round(q, 2).tolist()} rad; 7 within a turn are wanted: calibrate it"
            )
        before_m, (self._tcp_m, _) = self._tcp_m, kinematics.forward(q)
        jumped_m = np.linalg.norm(self._tcp_m - before_m)
        if now_s - self._heard_s > self.lost_s:
            self._rest_m, self._moved_s, self._taken = self._tcp_m, -np.inf, False
        elif jumped_m > self.mapping.jump_m:
            self._heard_s = -np.inf
            raise ActionError(f"the GELLO jumped by {jumped_m:.2f} m; check its encoders and its cable")
        self._heard_s = now_s
        if np.linalg.norm(self._tcp_m - self._rest_m) > self.mapping.rest_m:
            self._rest_m, self._moved_s = self._tcp_m, now_s
        taken = self._is_taken(now_s)
        if taken and not self._taken:
            self._origin_m, self._asked_m = self._tcp_m, np.zeros(3)
        self._taken = taken

    def hear_trigger(self, width_share: float) -> None:
        """How far the hand is to be open, in [0, 1]; what is no number is ignored."""
        if width_share <= self.mapping.close_below:
            self.presses.close_gripper = True
        elif width_share >= self.mapping.open_above:
            self.presses.close_gripper = False

    def hear_buttons(self, buttons: Sequence[int], now_s: float) -> None:
        """Of a device beside it, such as foot pedals."""
        self._pedal_s = now_s
        before, self._down = self._down, {index: bool(value) for index, value in enumerate(buttons)}
        pressed = {index for index, down in self._down.items() if down and not before.get(index)}
        if self.mapping.discard_button in pressed:
            self.presses.say("discard")
        elif self.mapping.keep_button in pressed:
            self.presses.say("keep")

    def command(self, stamp_ns: int, now_s: float) -> TeleopCommand | None:
        """The wish at this observation; None if the device, or the pedal of its clutch, is lost: a hold must follow."""
        heard_s = min(self._heard_s, self._pedal_s) if self.mapping.clutch_button >= 0 else self._heard_s
        if now_s - heard_s > self.lost_s:
            return None
        clutch, share = self._taken and self._is_taken(now_s), np.zeros(3)
        if clutch:
            way_m = self.mapping.scale * (self._tcp_m - self._origin_m)
            owed_m = np.clip(way_m - self._asked_m, -self._lag_m, self._lag_m)
            share = np.clip(owed_m / self.mapping.step_m, -1.0, 1.0)
            self._asked_m = way_m - owed_m + share * self.mapping.step_m
        return TeleopCommand(stamp_ns, share, clutch=clutch, **self.presses.take())

    def _is_taken(self, now_s: float) -> bool:
        if self.mapping.clutch_button >= 0:
            return self._down.get(self.mapping.clutch_button, False)
        return now_s - self._moved_s <= self.mapping.release_s
