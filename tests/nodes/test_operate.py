"""`tmrl operate` in a real terminal, over DDS, with a session that waits for its person."""

import os
import pty
import subprocess
import sys
import time

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from tmrl_ros.nodes import convert, topics
from tmrl_ros.types import Mode, SessionState

PATIENCE_S = 60.0
SLOW = {f"limits.{name}": 1.0 for name in ("observation_age_s", "state_timeout_s", "command_timeout_s")}


class Watch(Node):
    def __init__(self, context):
        super().__init__("watch", context=context)
        self.status = None
        topics.SESSION_STATUS.subscribe(self, lambda m: setattr(self, "status", convert.from_msg(m)))
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not (self.status and condition(self.status)):
            assert time.monotonic() < end_s, self.status
            self.executor_.spin_once(timeout_sec=0.05)


@pytest.fixture
def operated(ros):
    """(watch, press, output): a collect session, started by nobody yet, and `tmrl operate` in a terminal."""
    context, start = ros
    timing = {"timing.real_time": True}
    start("sim", **timing)
    start("perception", **timing)
    start(
        "supervisor",
        mode="collect",
        placing="operator",
        autostart=False,
        attended=True,
        **timing,
        **SLOW,
        **{"task.reset_s": 0.5},
    )
    person, end = pty.openpty()
    command = [sys.executable, "-c", "from tmrl_ros.session.cli import main; main()", "operate", "--name=anna"]
    process = subprocess.Popen(
        [*command, f"--terminal={os.ttyname(end)}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watch = Watch(context)
    yield watch, lambda key: os.write(person, key), process
    if process.poll() is None:
        process.kill()
    process.wait()


def test_an_attended_session_starts_for_nobody_without_a_name(ros):
    context, start = ros
    start("supervisor", attended=True, autostart=False)
    watch = Watch(context)
    client = topics.START_SESSION.client(watch)
    assert client.wait_for_service(PATIENCE_S)
    future = client.call_async(Trigger.Request())
    watch.executor_.spin_until_future_complete(future, PATIENCE_S)
    assert not future.result().success and "nobody attends to the session" in future.result().message


def attend(watch, press, keys, condition):
    """As a person does: a key of `keys` by what the status says, again where nothing came of it."""

    def came(status):
        if condition(status):
            return True
        press(next((key for words, key in keys.items() if words in status.reason), b"r"))
        time.sleep(0.3)
        return False

    watch.until(came)


def test_a_person_starts_the_session_places_the_objects_and_ends_it(operated):
    watch, press, process = operated
    # A machine that stalls holds: then nothing starts before a person resumes, and the objects are asked for again.
    attend(watch, press, {"silent": b"r", "": b"s"}, lambda status: status.state == SessionState.RUNNING)
    reset = {"put the objects back": b"p"}
    attend(watch, press, reset, lambda status: status.mode == Mode.TELEOP or "device is silent" in status.reason)
    attend(watch, press, {"": b"e"}, lambda status: status.state == SessionState.ENDED)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    for words in ("anna operates", "start_session: done", "objects_placed: done"):
        assert words in said, said
