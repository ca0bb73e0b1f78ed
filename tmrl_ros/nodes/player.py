"""Plays a bag with /clock into the nodes under test, and compares what they publish with what was recorded.

Played is everything but the topics that those nodes publish themselves, at `rate` times the recorded speed. Where the
recording has an answer of theirs, time stands still until they have given it, or for `patience_s`: a slow machine
changes nothing. The bag may be of any tool that writes MCAP or rosbag2's SQLite; what no installed package knows is
left out.
"""

import importlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from tmrl_ros.config import PlayerConfig
from tmrl_ros.data import bag
from tmrl_ros.data.bag import BagMessage
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.likeness import likeness
from tmrl_ros.nodes.recordable import KNOWN

PUBLISHED = {  # by node, what it publishes of what a recorder hears
    "perception": (topics.OBSERVATION,),
    "policy": (topics.ACTION_CHUNK,),
    "learner": (topics.ACTOR_UPDATE,),
    "teleop": (topics.JOY,),
    "recorder": (),
    "supervisor": (
        topics.DECISION_REQUEST,
        topics.DECISION,
        topics.EPISODE_EVENT,
        topics.SESSION_STATUS,
        topics.TRAJECTORY,
        topics.GRIPPER_COMMAND,
    ),
}
WORK_S, BURST_S = 0.002, 0.02  # wall time between looks at the clock, and for which a look may play
START_S = 60.0  # wall time within which the nodes must subscribe to something that is played
SETTLE_S = 0.5  # of wall time without a new subscription before the first message: discovery goes both ways
AHEAD = 20  # messages that may be played while an answer is owed: the recorder may have heard it first
GIVEN_UP = 3  # answers in a row that did not come, after which a topic is no longer waited for
DEPTH = 1000  # of topics that are not ours
TIMELESS = "tmrl_msgs/msg/ActorUpdate"  # stamped by the wall in a simulation of old; played where it stands


class Player(Node):
    def __init__(self):
        super().__init__("player", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, PlayerConfig)
        if not self.config.bag:
            raise ConfigError("bag is empty; name the bag to play")
        self._remapped = remapping(self.config.remap)
        self._nodes = self.config.nodes.split()
        self._answers = Answers({self.resolve_topic_name(topic.name): topic for topic in published(self._nodes)})
        waits = self.config.timing.waits
        for name, topic in self._answers.topics.items():
            topic.lossless(waits).subscribe(self, partial(self._answers.heard, name), raw=True)
        self._played = self._advertise()
        self._clock_publisher = topics.CLOCK.publisher(self)
        self._messages, self._next = self._recorded(), None
        self._newest_ns, self._first_ns, self._begin_s = -1, None, None
        self._heard_by, self._since_s = {}, time.monotonic()  # what of the played each node subscribes to, since when
        self._ahead, self._held_since_s, self._started_s = 0, None, time.monotonic()
        self._counts: Counter[str] = Counter()
        self.create_timer(WORK_S, self._work, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # ---- what is played ----

    def _name(self, recorded: str) -> str:
        return self._remapped.get(recorded, recorded)

    def _advertise(self) -> dict[str, object]:
        """A publisher for each topic to play, by its recorded name."""
        kinds = {message.topic: message.type_name for message in bag.read(self.config.bag)}
        wanted = [_absolute(name) for name in self.config.topics.split()]
        unknown = [name for name in [*wanted, *self._remapped] if name not in kinds]
        if unknown:
            raise ConfigError(f"{', '.join(unknown)} is not in the bag; it has {', '.join(sorted(kinds))}")
        publishers = {}
        for recorded, kind in kinds.items():
            name = self._name(recorded)
            if name in self._answers.topics or (wanted and recorded not in wanted) or name == topics.CLOCK.name:
                continue
            own = next((topic for topic in KNOWN.values() if self.resolve_topic_name(topic.name) == name), None)
            message_type = type_of(kind)
            if message_type is None:
                self.get_logger().warning(f"{recorded} is not played: no package here has {kind}")
                continue
            if own and own.type is not message_type:
                raise ConfigError(f"{recorded} holds {kind}, which {name} does not take; remap it to another name")
            if own:
                publishers[recorded] = own.lossless(self.config.timing.waits).publisher(self)
            else:
                publishers[recorded] = self.create_publisher(message_type, name, QoSProfile(depth=DEPTH))
        return publishers

    def _recorded(self) -> Iterator[tuple[int | None, BagMessage]]:
        """What is played or compared, each with the newest stamp so far (None: before the first).

        Ends where time goes back: there another session begins.
        """
        newest_ns = None
        for message in bag.read(self.config.bag):
            if message.topic not in self._played and self._name(message.topic) not in self._answers.topics:
                continue
            if message.type_name != TIMELESS:
                if newest_ns is not None and message.stamp_ns < newest_ns - self.config.back_s * 1e9:
                    self.get_logger().warning(
                        f"the bag goes back in time after {newest_ns * 1e-9:.2f} s, where a session was resumed; "
                        "give one of its files to play the rest"
                    )
                    return
                newest_ns = max(newest_ns or 0, message.stamp_ns)
            yield newest_ns, message

    # ---- when ----

    def _work(self) -> None:
        if self._begin_s is None and not self._all_are_there():
            return
        until_s = time.monotonic() + BURST_S
        while time.monotonic() < until_s:
            self._next = self._next or next(self._messages, None)
            if self._next is None:
                return self._finish()
            if not self._due(self._next[0]) or self._held():
                return None
            self._play(*self._next)
            self._next = None
        return None

    def _all_are_there(self) -> bool:
        now_s, heard_by = time.monotonic(), {name: self._subscribed(name) for name in self._nodes}
        if heard_by != self._heard_by:
            self._heard_by, self._since_s = heard_by, now_s
        absent = [name for name, heard in heard_by.items() if not heard]
        if absent and now_s > self._started_s + START_S:
            names = ", ".join(map(self._name, self._played))
            raise DataError(
                f"{' and '.join(absent)} did not subscribe to anything that is played ({names}) within {START_S:g} s; "
                "remap topics, or choose nodes that take them"
            )
        return not absent and now_s - self._since_s >= SETTLE_S

    def _subscribed(self, name: str) -> set[str]:
        try:
            heard = self.get_subscriber_names_and_types_by_node(name, self.get_namespace())
        except RuntimeError:  # rclpy's NodeNameNonExistentError: not there yet
            return set()
        return {topic for topic, _ in heard} & set(map(self._name, self._played))

    def _due(self, stamp_ns: int | None) -> bool:
        now_s = time.monotonic()
        if self._first_ns is None:
            self._begin_s, self._first_ns = now_s, stamp_ns
        return stamp_ns is None or now_s >= self._begin_s + (stamp_ns - self._first_ns) * 1e-9 / self.config.rate

    def _held(self) -> bool:
        """Whether the nodes owe answers for too long; meanwhile the recording's time stands still."""
        if not self._answers.owed or self._ahead < AHEAD:
            return False
        now_s = time.monotonic()
        self._held_since_s = self._held_since_s or now_s
        if now_s - self._held_since_s < self.config.patience_s:
            return True
        for name in self._answers.give_up():
            self.get_logger().warning(f"no more answers are waited for on {name}")
        self._resume_time()
        return False

    def _resume_time(self) -> None:
        self._begin_s += time.monotonic() - self._held_since_s
        self._held_since_s, self._ahead = None, 0

    def _play(self, stamp_ns: int | None, message: BagMessage) -> None:
        if self._held_since_s is not None:
            self._resume_time()
        if stamp_ns is not None and stamp_ns > self._newest_ns:
            self._newest_ns = stamp_ns
            self._clock_publisher.publish(convert.clock_msg(stamp_ns))
        self._ahead = self._ahead + 1 if self._answers.owed else 0
        if message.topic in self._played:
            self._played[message.topic].publish(message.data)
            self._counts[message.topic] += 1
        else:
            self._answers.expect(self._name(message.topic), message.data)

    def _finish(self) -> None:
        """Once all answers are there, or patience is over."""
        self._ahead = AHEAD
        if self._held():
            return
        result = self._answers.result()
        for name, counts in result.items():
            said = ", ".join(f"{count} {what}" for what, count in counts.items())
            self.get_logger().info(f"{name}: {said}")
        if self.config.result:
            _write_whole(Path(self.config.result), {"played": dict(self._counts), "compared": result})
        raise SystemExit(0)


class Answers:
    """What nodes publish against what was recorded of them, by topic and by what names a message there."""

    def __init__(self, by_name: dict[str, topics.Topic]):
        self.topics = by_name
        self._recorded: dict[str, dict] = {name: {} for name in by_name}
        self._heard: dict[str, dict] = {name: {} for name in by_name}
        self._missed: Counter[str] = Counter()
        self.owed: set[tuple[str, tuple]] = set()

    def expect(self, name: str, data: bytes) -> None:
        """The recording has this answer."""
        key, said = likeness(self.topics[name].type, data)
        self._recorded[name].setdefault(key, said)
        if key not in self._heard[name] and self._missed[name] < GIVEN_UP:
            self.owed.add((name, key))

    def heard(self, name: str, data: bytes) -> None:
        key, said = likeness(self.topics[name].type, data)
        self._heard[name].setdefault(key, said)
        if (name, key) in self.owed:
            self.owed.discard((name, key))
            self._missed[name] = 0

    def give_up(self) -> list[str]:
        """No longer wait for what is owed; returns the topics that are no longer waited for at all."""
        late = Counter({name: 1 for name, _ in self.owed})
        self._missed += late
        self.owed.clear()
        return [name for name in late if self._missed[name] == GIVEN_UP]

    def result(self) -> dict[str, dict[str, int]]:
        """By topic: messages that both have, how many of them are equal, and what only one of them has."""
        out = {}
        for name, recorded in self._recorded.items():
            heard = self._heard[name]
            both = recorded.keys() & heard.keys()
            out[name] = {
                "both": len(both),
                "equal": sum(recorded[key] == heard[key] for key in both),
                "only recorded": len(recorded.keys() - heard.keys()),
                "only published": len(heard.keys() - recorded.keys()),
            }
        return out


def published(nodes: list[str]) -> list[topics.Topic]:
    unknown = [name for name in nodes if name not in PUBLISHED]
    if unknown:
        raise ConfigError(f"nodes: {', '.join(unknown)} cannot be played into; valid: {', '.join(PUBLISHED)}")
    return [topic for name in nodes for topic in PUBLISHED[name]]


def remapping(words: str) -> dict[str, str]:
    """Recorded names to those they are played under, from words FROM:=TO."""
    pairs = [word.partition(":=") for word in words.split()]
    bad = [f"{before}{assigned}{after}" for before, assigned, after in pairs if not (before and assigned and after)]
    if bad:
        raise ConfigError(f"remap: {', '.join(bad)} is no FROM:=TO; write such as /cam/joint_states:=/joint_states")
    return {_absolute(before): _absolute(after) for before, _, after in pairs}


def type_of(name: str) -> type | None:
    """The class of a message type "package/msg/Type"; None where no installed package has it."""
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(part.isidentifier() for part in parts) or not parts[0].endswith("_msgs"):
        return None  # a name from a file must not import just anything
    try:
        return getattr(importlib.import_module(f"{parts[0]}.msg"), parts[-1], None)
    except ImportError:
        return None


def _absolute(name: str) -> str:
    return "/" + name.lstrip("/")


def _write_whole(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); make room and play again") from None


def main():
    runtime.run(Player)
