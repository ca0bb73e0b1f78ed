"""The keyboard of a terminal as a teleoperation device."""

import numpy as np

from tmrl_ros.config import KeyboardMap
from tmrl_ros.teleop.presses import Presses
from tmrl_ros.teleop.terminal import Terminal
from tmrl_ros.types import TeleopCommand

HELP = (
    "keyboard: c clutch (arm moves or not), w s a d r f forward back left right up down (capitals: fast; or arrows and "
    "page up, page down), space hand, enter keep, x discard"
)
MOVES = {  # key -> axis of the base frame, direction
    "w": (0, 1), "s": (0, -1), "a": (1, 1), "d": (1, -1), "r": (2, 1), "f": (2, -1),
    "\x1b[A": (0, 1), "\x1b[B": (0, -1), "\x1b[D": (1, 1), "\x1b[C": (1, -1), "\x1b[5~": (2, 1), "\x1b[6~": (2, -1),
}  # fmt: skip
CLUTCH, GRIP, KEEP, DISCARD = ("c",), (" ",), ("\r", "\n"), ("x", "\x7f")


class Keys:
    """What the keys pressed so far come to. A press moves for `hold_s`, so that letting go of the keyboard stops."""

    def __init__(self, config: KeyboardMap):
        self.config, self.presses = config, Presses()
        self.clutch = False
        self._velocity, self._until_s = np.zeros(3), np.full(3, -np.inf)

    def press(self, key: str, now_s: float) -> None:
        """One key, as `terminal.split_keys` gives it; keys without a meaning are ignored."""
        if key.lower() in MOVES or key in MOVES:
            axis, direction = MOVES[key] if key in MOVES else MOVES[key.lower()]
            fast = len(key) == 1 and key.isupper()
            self._velocity[axis] = direction * (self.config.fast if fast else self.config.slow)
            self._until_s[axis] = now_s + self.config.hold_s
        elif key in CLUTCH:
            self.clutch = not self.clutch
        elif key in GRIP:
            self.presses.grip()
        elif key in KEEP + DISCARD:
            self.presses.say("keep" if key in KEEP else "discard")

    def command(self, stamp_ns: int, now_s: float) -> TeleopCommand:
        velocity = np.where(now_s < self._until_s, self._velocity, 0.0)
        return TeleopCommand(stamp_ns, velocity, clutch=self.clutch, **self.presses.take())


class KeyboardDevice:
    """What is pressed in a terminal; `close` leaves it as it was."""

    def __init__(self, terminal: str, config: KeyboardMap):
        self.keys, self._terminal = Keys(config), Terminal(terminal)

    @property
    def presses(self) -> Presses:
        return self.keys.presses

    def command(self, stamp_ns: int, now_s: float) -> TeleopCommand | None:
        """The wish at this observation, after all keys pressed so far; None once the terminal is gone."""
        for key in self._terminal.read():
            self.keys.press(key, now_s)
        return None if self._terminal.lost else self.keys.command(stamp_ns, now_s)

    def close(self) -> None:
        """Give the terminal back."""
        self._terminal.close()
