"""A bag back into the records that its session exchanged, for the assembler and the reports."""

from collections.abc import Iterator
from pathlib import Path

from rclpy.serialization import deserialize_message, serialize_message

from tmrl_msgs import msg as tm
from tmrl_ros.data import bag
from tmrl_ros.nodes.convert import from_msg, to_msg
from tmrl_ros.types import ActionChunk, Decision, EpisodeEvent, Observation

TYPES = {f"tmrl_msgs/msg/{kind.__name__}": kind for kind in (tm.Observation, tm.Decision, tm.EpisodeEvent)}


def records(path: str | Path) -> Iterator[Observation | Decision | EpisodeEvent]:
    """Observations, decisions and episode events of a bag, in the order they were recorded."""
    for message in bag.read(path, set(TYPES)):
        yield from_msg(deserialize_message(message.data, TYPES[message.type_name]))


def metrics(path: str | Path) -> Iterator[dict[str, float]]:
    """Rows of metrics.jsonl: the metrics of every actor version in a bag."""
    for message in bag.read(path, {"tmrl_msgs/msg/ActorUpdate"}):
        update = deserialize_message(message.data, tm.ActorUpdate)
        yield {
            "version": update.version,
            **dict(zip(update.metric_names, map(float, update.metric_values), strict=True)),
        }


def chunks(path: str | Path) -> Iterator[ActionChunk]:
    """Every action chunk of a bag, in the order they were recorded."""
    for message in bag.read(path, {"tmrl_msgs/msg/ActionChunk"}):
        yield from_msg(deserialize_message(message.data, tm.ActionChunk))


def actor_updates(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Version and parameters (a safetensors file, empty while the learner warmed up) of every actor in a bag."""
    for message in bag.read(path, {"tmrl_msgs/msg/ActorUpdate"}):
        update = deserialize_message(message.data, tm.ActorUpdate)
        yield update.version, bytes(update.parameters)


def as_received(record):
    """The record that a subscriber gets when this one is published: some of its numbers travel as float32."""
    message = to_msg(record)
    return from_msg(deserialize_message(serialize_message(message), type(message)))
