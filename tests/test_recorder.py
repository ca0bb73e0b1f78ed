"""The recorder as a process of its own: what is published is in the bag after a clean end and after a kill."""

import itertools
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from tmrl_ros.config import RecorderConfig
from tmrl_ros.data import bag
from tmrl_ros.nodes import convert, likeness, recordable, recorder, replay, topics
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg
from tmrl_ros.nodes.convert import to_msg
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.types import DecisionRequest, EpisodeEvent, Mode

MAIN = "from tmrl_ros.nodes.recorder import main; main()"


def event(number: int) -> EpisodeEvent:
    return EpisodeEvent(number * 10**9, number, "ended", Mode.POLICY, False, True, True, 5, "success", float(number))


def start_recorder(*parameters: str) -> subprocess.Popen:
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "--ros-args", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def node(ros_context):
    node = Node("test_publisher", context=ros_context)
    yield node
    node.destroy_node()


@pytest.fixture
def publisher(node):
    return topics.EPISODE_EVENT.publisher(node)


def wait_until(condition, timeout_s=20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_what_reached_the_recorder_before_a_signal_ended_it_is_in_the_bag(publisher, tmp_path):
    rclpy.init(args=["--ros-args", "-p", f"bag:={tmp_path / 'bag'}"])
    made = recorder.Recorder()
    wait_until(publisher.get_subscription_count)
    for number in range(1, 51):
        publisher.publish(to_msg(event(number)))
    assert publisher.wait_for_all_acked(Duration(seconds=10))
    made.context.handle.shutdown()  # as rclpy's handler of signals does
    made.close()
    made.destroy_node()
    rclpy.try_shutdown()
    assert bag.is_complete(tmp_path / "bag")
    assert list(replay.records(tmp_path / "bag")) == [event(number) for number in range(1, 51)]


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


def test_cameras_and_other_topics_are_recorded_under_their_names_with_what_belongs_to_them(node, tmp_path):
    color, _, info = camera_topics("camera/front")
    gello = topics.Topic("gello/joint_states", JointState)
    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)  # as drivers of cameras publish
    publishers = [color._replace(qos=best_effort).publisher(node), *(t.publisher(node) for t in (info, gello))]
    (tmp_path / "parameters.yaml").write_text("/**: {}\n")
    names = f"['{color.name}', '{info.name}', '{gello.name}:=sensor_msgs/msg/JointState']"
    folder = tmp_path / "bag"
    process = start_recorder(f"bag:={folder}", f"topics:={names}", f"parameters:={tmp_path / 'parameters.yaml'}")
    lens = Intrinsics(640, 480, (615.0, 615.0), (319.5, 239.5))
    try:
        wait_until(lambda: all(entry.get_subscription_count() for entry in publishers))
        numbers = itertools.count(1)

        def all_are_there():  # best effort, what is published before both ends know each other is lost
            k = next(numbers)
            publishers[0].publish(convert.image_msg(k * 10**9, "front", np.full((480, 640, 3), k, np.uint8)))
            publishers[1].publish(info_msg(k * 10**9, "front", lens))
            publishers[2].publish(JointState(header=Header(stamp=convert.to_time(k * 10**9)), position=[float(k)]))
            time.sleep(0.1)
            return len(bag.counts(folder)) == 3

        wait_until(all_are_there)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
    read = list(bag.read(folder))
    assert {m.topic: m.type_name for m in read} == {
        "/camera/front/color/image_raw": "sensor_msgs/msg/Image",
        "/camera/front/color/camera_info": "sensor_msgs/msg/CameraInfo",
        "/gello/joint_states": "sensor_msgs/msg/JointState",
    }
    assert all(m.stamp_ns == likeness.stamp_ns(m.data) for m in read)
    for message in read:
        if message.type_name == "sensor_msgs/msg/Image":
            assert set(deserialize_message(message.data, Image).data) == {message.stamp_ns // 10**9}
    assert bag.attachments(folder) == {"parameters.yaml": b"/**: {}\n"}


def test_in_lockstep_what_was_said_before_the_recorder_came_is_in_the_bag(node, tmp_path):
    requests = topics.DECISION_REQUEST.lossless(True).publisher(node)
    heartbeats = topics.LEARNER_HEARTBEAT.publisher(node)  # kept for nobody: the recorder has to ask for less
    stamps = [number * 10**9 for number in range(1, 51)]
    for number, stamp in enumerate(stamps):
        requests.publish(to_msg(DecisionRequest(stamp, 0, number, False)))
    folder, names = tmp_path / "bag", f"['{topics.DECISION_REQUEST.name}', '{topics.LEARNER_HEARTBEAT.name}']"
    process = start_recorder(f"bag:={folder}", f"topics:={names}", "timing.lockstep:=true")
    try:
        wait_until(heartbeats.get_subscription_count)
        heartbeats.publish(Header())
        wait_until(lambda: sum(bag.counts(folder).values()) == len(stamps) + 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert [m.stamp_ns for m in bag.read(folder) if m.topic == "/decision_request"] == stamps


@pytest.mark.parametrize(
    ("bound", "sentence"), [("limit_gb:=1.0e-7", "limit_gb allows 1e-07"), ("free_gb:=1.0e9", "free_gb keeps 1e+09")]
)
def test_a_recorder_that_may_write_no_more_ends_with_a_sentence_and_a_whole_bag(bound, sentence, publisher, tmp_path):
    process = start_recorder(f"bag:={tmp_path / 'bag'}", bound)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and bag.is_complete(tmp_path / "bag")
    assert sentence in errors and "closed whole" in errors and "Traceback" not in errors


STAMPED = {name: topic for name, topic in recordable.KNOWN.items() if likeness.is_stamped(topic.type)}


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
        ("topics:=[/color/image_raw]", "/color/image_raw cannot be recorded"),
        ("topics:=['x:=no_msgs/msg/Nothing']", "x is to be a 'no_msgs/msg/Nothing', which is not installed"),
        ("parameters:=/nowhere", "/nowhere cannot be put into the bag (No such file or directory)"),
        ("bag:=''", "bag is empty"),
        ("bga:=x", "did you mean bag?"),
    ],
)
def test_a_wrong_parameter_is_one_sentence_and_status_two(parameter, sentence):
    process = start_recorder(parameter)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert sentence in errors and "Traceback" not in errors
