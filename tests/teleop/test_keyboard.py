"""The keyboard through a pseudo-terminal: keys become wishes, letting go stops, and the terminal is given back."""

import os
import pty
import termios

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.config import KeyboardMap, Shift, SupervisorConfig
from tmrl_ros.errors import ConfigError
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.supervisor.core import SupervisorCore
from tmrl_ros.teleop.keyboard import KeyboardDevice, Keys
from tmrl_ros.teleop.terminal import split_keys
from tmrl_ros.types import EpisodeEvent, Mode

EPISODES = 4  # demonstrations to type


class Terminal:
    """Both ends of a pseudo-terminal: `type_` is the person, `device` what reads."""

    def __init__(self):
        self.person, self._end = pty.openpty()
        self.device = KeyboardDevice(os.ttyname(self._end), KeyboardMap())

    def type_(self, text: str) -> None:
        os.write(self.person, text.encode())

    def wish(self, now_s=0.0):
        return self.device.command(1, now_s)

    def local_flags(self) -> int:
        return termios.tcgetattr(self._end)[3]

    def hang_up(self) -> None:
        for file in (self.person, self._end):
            if file >= 0:
                os.close(file)
        self.person = self._end = -1


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.device.close()
    terminal.hang_up()


@pytest.mark.parametrize(
    ("typed", "velocity"),
    [
        ("w", (0.25, 0, 0)),
        ("S", (-1, 0, 0)),
        ("aR", (0, 0.25, 1)),
        ("wsd", (-0.25, -0.25, 0)),
        ("\x1b[A\x1b[6~", (0.25, 0, -0.25)),
        ("\x1b[D", (0, 0.25, 0)),
        ("q?é", (0, 0, 0)),
    ],
)
def test_keys_move_along_their_axes(terminal, typed, velocity):
    terminal.type_(typed)
    np.testing.assert_allclose(terminal.wish().velocity, velocity)


def test_letting_go_stops_and_a_repeating_key_goes_on(terminal):
    terminal.type_("w")
    assert terminal.wish(0.0).velocity[0] > 0
    assert terminal.wish(0.08).velocity[0] > 0
    assert terminal.wish(0.09).velocity[0] == 0
    for now_s in (0.2, 0.3, 0.4):
        terminal.type_("w")
        assert terminal.wish(now_s).velocity[0] > 0


def test_clutch_and_hand_toggle_and_the_arm_starts_uncoupled(terminal):
    assert (terminal.wish().clutch, terminal.wish().close_gripper) == (False, False)
    terminal.type_("c ")
    assert (terminal.wish().clutch, terminal.wish().close_gripper) == (True, True)
    terminal.type_(" ")
    assert (terminal.wish().clutch, terminal.wish().close_gripper) == (True, False)
    terminal.type_("c")
    assert not terminal.wish().clutch


@pytest.mark.parametrize(("typed", "expected"), [("\r", (True, False)), ("x", (False, True)), ("\rx", (False, True))])
def test_keep_and_discard_are_said_for_a_moment(terminal, typed, expected):
    terminal.type_(typed)
    said = [(wish.keep, wish.discard) for wish in (terminal.wish() for _ in range(3))]
    assert said == [expected, expected, (False, False)]


def test_the_terminal_does_not_echo_and_is_given_back():
    terminal = Terminal()
    hidden = termios.ECHO | termios.ICANON
    assert not terminal.local_flags() & hidden
    assert terminal.local_flags() & termios.ISIG  # Ctrl-C interrupts
    terminal.device.close()
    assert terminal.local_flags() & hidden == hidden
    terminal.device.close()
    terminal.hang_up()


def test_a_terminal_that_is_closed_is_a_lost_device(terminal):
    assert terminal.wish() is not None
    terminal.hang_up()
    assert terminal.wish() is None


@pytest.mark.parametrize(("path", "sentence"), [("/nowhere", "No such file"), (os.devnull, "is not a terminal")])
def test_what_is_no_terminal_is_refused(path, sentence):
    with pytest.raises(ConfigError, match=sentence):
        KeyboardDevice(path, KeyboardMap())


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["w", "S", " ", "\x1b[A", "\x1b[5~", "é"])), st.data())
def test_keys_are_the_same_however_the_terminal_cuts_them(keys, data):
    text, found, rest = "".join(keys), [], ""
    while text:
        count = data.draw(st.integers(1, len(text)))
        some, rest = split_keys(rest + text[:count])
        found += some
        text = text[count:]
    assert (found, rest) == (keys, "")


@settings(max_examples=40)
@given(st.text(max_size=50))
def test_no_text_harms(text):
    keys = Keys(KeyboardMap())
    for key in split_keys(text)[0]:
        keys.press(key, 0.0)
    wish = keys.command(1, 0.0)
    assert (np.abs(wish.velocity) <= 1).all()


class Typist:
    """The scripted person, typing what it wants: what a keyboard is to ScriptedTeleop."""

    def __init__(self, terminal: Terminal, task: str, seed: int):
        self.terminal, self.script = terminal, ScriptedTeleop(task, seed)
        terminal.type_("c")

    def command(self, sim):
        want = self.script.command(sim)
        keys = []
        for axis, (forward, back) in enumerate(("ws", "ad", "rf")):
            speed = want.velocity[axis]
            key = forward if speed > 0 else back
            if abs(speed) > 0.12:  # half of the slow step
                keys.append(key.upper() if abs(speed) > 0.6 else key)
        grip = self.terminal.device.presses.close_gripper != want.close_gripper
        self.terminal.type_("".join(keys) + " " * int(grip) + "\r" * int(want.keep))
        return self.terminal.device.command(want.stamp_ns, want.stamp_ns * 1e-9)


def test_demonstrations_come_through_the_keyboard():
    config, events = SupervisorConfig(mode="collect", episodes=EPISODES), []
    terminal = Terminal()
    sim = SimRobot(config.task, config.timing, Shift(), config.seed)

    def watch(record):
        if isinstance(record, EpisodeEvent) and record.kind == "ended":
            events.append(record)
            terminal.device.presses.episode_ended()

    typist = Typist(terminal, config.task.name, config.seed)
    InProcessSession(sim, SupervisorCore(config), teleop=typist, watch=watch).run()
    terminal.device.close()
    terminal.hang_up()
    assert sum(event.counted for event in events) == EPISODES
    assert len(events) <= 2 * EPISODES, "a person would not fail so often"
    assert {event.source for event in events} == {Mode.TELEOP}
