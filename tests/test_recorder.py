"""The recorder as a process of its own: what is published is in the bag after a clean end and after a kill."""

import os
import signal
import subprocess
import sys
import time

import pytest
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message

from tmrl_ros.config import RecorderConfig
from tmrl_ros.data import bag
from tmrl_ros.nodes import likeness, recorder, replay, runtime, topics
from tmrl_ros.nodes.convert import to_msg
from tmrl_ros.types import EpisodeEvent, Mode

DOMAIN = 83
MAIN = "from tmrl_ros.nodes.recorder import main; main()"


def event(number: int) -> EpisodeEvent:
    return EpisodeEvent(number * 10**9, number, "ended", Mode.POLICY, False, True, True, 5, "success", float(number))


def start_recorder(*parameters: str) -> subprocess.Popen:
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "--ros-args", *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    runtime.use_loopback(os.environ)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = Node("test_publisher", context=context)
    yield topics.EPISODE_EVENT.publisher(node)
    node.destroy_node()
    rclpy.shutdown(context=context)


def wait_until(condition, timeout_s=20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_recording_survives_a_clean_end_and_a_kill(publisher, tmp_path):
    folders = {signal.SIGINT: tmp_path / "clean", signal.SIGKILL: tmp_path / "killed"}
    processes = {kind: start_recorder(f"bag:={folder}") for kind, folder in folders.items()}
    try:
        wait_until(lambda: publisher.get_subscription_count() == 2)
        for number in range(1, 51):
            publisher.publish(to_msg(event(number)))
        wait_until(lambda: all(len(list(bag.read(folder))) == 50 for folder in folders.values()))
        for kind, process in processes.items():
            process.send_signal(kind)
        codes = {kind: process.wait(20) for kind, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    assert codes[signal.SIGINT] == 0
    assert bag.is_complete(folders[signal.SIGINT]) and not bag.is_complete(folders[signal.SIGKILL])
    for folder in folders.values():
        assert [message.stamp_ns for message in bag.read(folder)] == [number * 10**9 for number in range(1, 51)]
        assert list(replay.records(folder)) == [event(number) for number in range(1, 51)]
        assert (folder / "metadata.yaml").exists()


STAMPED = {name: topic for name, topic in recorder.KNOWN.items() if likeness.is_stamped(topic.type)}


def test_what_a_session_records_has_stamps():
    assert set(RecorderConfig().topics) <= set(STAMPED)


@pytest.mark.parametrize("topic", STAMPED.values(), ids=STAMPED)
def test_every_topic_begins_with_the_stamp_it_is_stored_under(topic):
    message = topic.type()
    kind = next(iter(message.get_fields_and_field_types().items()))
    stamp = message.header.stamp if kind == ("header", "std_msgs/Header") else getattr(message, kind[0])
    stamp.sec, stamp.nanosec = 12, 345
    assert likeness.stamp_ns(serialize_message(message)) == 12_000_000_345


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("topics:=[observatoin]", "observatoin cannot be recorded; valid: /clock"),
        ("bag:=''", "bag is empty"),
        ("bga:=x", "did you mean bag?"),
    ],
)
def test_a_wrong_parameter_is_one_sentence_and_status_two(parameter, sentence):
    process = start_recorder(parameter)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert sentence in errors and "Traceback" not in errors
