"""A terminal, read key by key without echo."""

import os
import termios
import tty
from contextlib import suppress

from tmrl_ros.errors import ConfigError

READ_BYTES = 1024


class Terminal:
    """`read` gives what was pressed since the last call and never waits; `close` leaves the terminal as it was."""

    def __init__(self, path: str):
        self.lost, self._rest = False, ""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise ConfigError(
                f"terminal {path}: {error.strerror}; start in a terminal, or name one as `tty` prints it"
            ) from None
        try:
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file, termios.TCSANOW)  # Ctrl-C still interrupts
        except termios.error:
            os.close(self._file)
            raise ConfigError(f"terminal {path} is not a terminal; name one as `tty` prints it") from None

    def read(self) -> list[str]:
        """Keys as split_keys gives them; `lost` is set once the other end is closed."""
        pressed = []
        while not self.lost:
            try:
                data = os.read(self._file, READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.lost = True
            keys, self._rest = split_keys(self._rest + data.decode(errors="replace"))
            pressed += keys
        return pressed

    def close(self) -> None:
        """Give the terminal back."""
        if self._file >= 0:
            with suppress(termios.error):  # it is gone
                termios.tcsetattr(self._file, termios.TCSANOW, self._before)
            os.close(self._file)
            self._file = -1


def split_keys(text: str) -> tuple[list[str], str]:
    """Keys in what a terminal sent, an escape sequence as one; and the beginning of one that is not whole yet."""
    keys, at = [], 0
    while at < len(text):
        end = at + 1
        if text[at : at + 2] == "\x1b[":
            end = at + 2
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            if end == len(text):
                return keys, text[at:]
            end += 1
        elif text[at:] == "\x1b":
            return keys, "\x1b"
        keys.append(text[at:end])
        at = end
    return keys, ""
