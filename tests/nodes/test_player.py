"""What the player compares and what it refuses, without a session; with one: tests/session/test_played_bag.py."""

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from tmrl_msgs import msg as tm
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import topics
from tmrl_ros.nodes.convert import actor_update_msg, to_msg
from tmrl_ros.nodes.likeness import likeness
from tmrl_ros.nodes.player import GIVEN_UP, Answers, published, remapping, type_of
from tmrl_ros.types import ActionChunk, Modulation

CHUNK = "/action_chunk"


def chunk(number: int, stamp: int | None = None, value: float = 0.5) -> bytes:
    actions = np.full((16, 4), value, np.float32)
    stamp_ns = (number if stamp is None else stamp) * 10**9
    record = ActionChunk(stamp_ns, 0, number, 0.1, actions, Modulation(np.zeros(4, np.float32), 0.1), 3)
    return serialize_message(to_msg(record))


@pytest.fixture
def answers():
    return Answers({CHUNK: topics.ACTION_CHUNK})


def test_messages_are_compared_by_what_they_say_and_found_by_their_stamp(answers):
    answers.heard(CHUNK, chunk(1))  # before the recording has it
    for number in range(4):
        answers.expect(CHUNK, chunk(number))
    assert answers.owed == {(CHUNK, (number * 10**9,)) for number in (0, 2, 3)}
    answers.heard(CHUNK, chunk(0))
    answers.heard(CHUNK, chunk(2, value=np.nextafter(np.float32(0.5), np.float32(1))))
    answers.heard(CHUNK, chunk(9))
    assert answers.result() == {CHUNK: {"both": 3, "equal": 2, "only recorded": 1, "only published": 1}}


def test_a_number_that_is_used_again_after_a_hold_is_another_message(answers):
    answers.expect(CHUNK, chunk(5, stamp=5))
    answers.expect(CHUNK, chunk(5, stamp=9))
    answers.heard(CHUNK, chunk(5, stamp=9))
    assert answers.result()[CHUNK] == {"both": 1, "equal": 1, "only recorded": 1, "only published": 0}


def test_a_topic_that_stays_silent_is_not_waited_for_for_ever(answers):
    for number in range(GIVEN_UP):
        answers.expect(CHUNK, chunk(number))
        assert answers.owed
        assert answers.give_up() == ([CHUNK] if number == GIVEN_UP - 1 else [])
    answers.expect(CHUNK, chunk(99))
    assert not answers.owed


def test_actors_are_compared_by_their_weights_not_by_how_long_they_took():
    made = [
        serialize_message(actor_update_msg(stamp, 4, "tmrl", b"weights", {"latency/learn_ms": float(stamp)}))
        for stamp in (1, 2)
    ]
    assert likeness(tm.ActorUpdate, made[0]) == likeness(tm.ActorUpdate, made[1])
    other = serialize_message(actor_update_msg(1, 4, "tmrl", b"weightz", {}))
    assert likeness(tm.ActorUpdate, other)[1] != likeness(tm.ActorUpdate, made[0])[1]


def test_every_field_of_a_message_counts():
    plain = serialize_message(JointState(name=["a", "b"], position=[1.0, -0.0]))
    for other in (
        JointState(name=["a", "b"], position=[1.0, 0.0]),
        JointState(name=["ab"], position=[1.0, -0.0]),
        JointState(name=["a", "b"], velocity=[1.0, -0.0]),
    ):
        assert likeness(JointState, serialize_message(other))[1] != likeness(JointState, plain)[1]


def test_types_come_from_message_packages_alone():
    assert type_of("sensor_msgs/msg/JointState") is JointState and type_of("sensor_msgs/JointState") is JointState
    for name in ("os/msg/system", "strange_msgs/msg/Thing", "sensor_msgs/msg/Nothing", "sensor_msgs", "a b_msgs/msg/C"):
        assert type_of(name) is None


def test_nodes_and_remappings_are_refused_by_name():
    assert topics.ACTION_CHUNK in published(["policy", "recorder"])
    with pytest.raises(ConfigError, match="sim cannot be played into; valid: perception"):
        published(["sim"])
    assert remapping("cam/x:=/y") == {"/cam/x": "/y"}
    with pytest.raises(ConfigError, match="a:= is no FROM:=TO"):
        remapping("a:=")
