"""A bag back into the records that its session exchanged, for the assembler and the reports."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rclpy.serialization import deserialize_message, serialize_message

from tmrl_msgs import msg as tm
from tmrl_ros.config import Timing
from tmrl_ros.data import bag
from tmrl_ros.data.assembler import Assembler, Transition
from tmrl_ros.errors import DataError
from tmrl_ros.nodes.convert import from_msg, to_msg
from tmrl_ros.types import ActionChunk, Decision, EpisodeEvent, Label, Observation, SessionStatus

TYPES = {f"tmrl_msgs/msg/{kind.__name__}": kind for kind in (tm.Observation, tm.Decision, tm.EpisodeEvent)}
CHUNKED = TYPES | {"tmrl_msgs/msg/ActionChunk": tm.ActionChunk}


def records(path: str | Path) -> Iterator[Observation | Decision | EpisodeEvent]:
    """Observations, decisions and episode events of a bag, in the order they were recorded."""
    for message in bag.read(path, set(TYPES)):
        yield _record(message, TYPES[message.type_name])


def progress(path: str | Path) -> Iterator[Decision | EpisodeEvent | SessionStatus]:
    """What tells how far a session was."""
    kinds = {f"tmrl_msgs/msg/{kind.__name__}": kind for kind in (tm.Decision, tm.EpisodeEvent, tm.SessionStatus)}
    for message in bag.read(path, set(kinds)):
        yield _record(message, kinds[message.type_name])


def stretches(path: str | Path) -> Iterator[list[Observation | Decision | EpisodeEvent | ActionChunk]]:
    """All records of a bag and its action chunks, in stretches of time that goes forward.

    A session that was resumed continues in another file of its bag; a simulation begins it at stamp 0 again.
    """
    stretch, newest_ns = [], -1
    for file in bag.files(path):
        fresh = [_record(message, CHUNKED[message.type_name]) for message in bag.read(file, set(CHUNKED))]
        stamps_ns = [record.stamp_ns for record in fresh if isinstance(record, Observation)]
        if stamps_ns and stamps_ns[0] <= newest_ns:
            yield stretch
            stretch = []
        stretch += fresh
        newest_ns = stamps_ns[-1] if stamps_ns else newest_ns
    yield stretch


def transitions(path: str | Path, timing: Timing, dropped: Counter[str] | None = None) -> Iterator[Transition]:
    """Transitions of all stretches, in little memory; `dropped` counts the records that made none, by reason."""
    return (record for record in experience(path, timing, dropped) if isinstance(record, Transition))


def experience(path: str | Path, timing: Timing, dropped: Counter[str] | None = None) -> Iterator[Transition | Label]:
    """What a learner has of a bag: the same transitions, and a person's labels where they were recorded."""
    assembler, newest_ns = Assembler(timing), -1
    dropped = Counter() if dropped is None else dropped
    for file in bag.files(path):
        fresh = True
        for message in bag.read(file, set(TYPES)):
            record = _record(message, TYPES[message.type_name])
            if isinstance(record, EpisodeEvent):
                label = Label.of(record)
                if label:
                    yield label
                continue
            if isinstance(record, Decision):
                yield from assembler.decide(record)
                continue
            if fresh and record.stamp_ns <= newest_ns:
                assembler.close()
                dropped.update(assembler.dropped)
                assembler = Assembler(timing)
            fresh, newest_ns = False, record.stamp_ns
            yield from assembler.observe(record)
    assembler.close()
    dropped.update(assembler.dropped)


def metrics(path: str | Path) -> Iterator[dict[str, float]]:
    """Rows of metrics.jsonl: the metrics of every actor version in a bag."""
    for message in bag.read(path, {"tmrl_msgs/msg/ActorUpdate"}):
        update = _message(message, tm.ActorUpdate)
        yield {
            "version": update.version,
            **dict(zip(update.metric_names, map(float, update.metric_values), strict=True)),
        }


def chunks(path: str | Path) -> Iterator[ActionChunk]:
    """Every action chunk of a bag, in the order they were recorded."""
    for message in bag.read(path, {"tmrl_msgs/msg/ActionChunk"}):
        yield _record(message, tm.ActionChunk)


def actor_updates(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Version and parameters (a safetensors file, empty while the learner warmed up) of every actor in a bag."""
    for message in bag.read(path, {"tmrl_msgs/msg/ActorUpdate"}):
        update = _message(message, tm.ActorUpdate)
        yield update.version, bytes(update.parameters)


def _record(recorded: bag.BagMessage, kind: type):
    message = _message(recorded, kind)
    try:
        return from_msg(message)
    except (ValueError, TypeError, IndexError, OverflowError) as error:  # of arrays that do not have their shapes
        raise _unreadable(recorded, error) from None


def _message(recorded: bag.BagMessage, kind: type):
    try:
        return deserialize_message(recorded.data, kind)
    except Exception as error:  # rclpy raises what its middleware does
        raise _unreadable(recorded, error) from None


def _unreadable(recorded: bag.BagMessage, error: Exception) -> DataError:
    why = " ".join(str(error).split())[:200]
    return DataError(f"a message on {recorded.topic} at {recorded.stamp_ns} ns cannot be read ({why}); restore a copy")


def as_received(record):
    """The record that a subscriber gets when this one is published: some of its numbers travel as float32."""
    message = to_msg(record)
    return from_msg(deserialize_message(serialize_message(message), type(message)))
