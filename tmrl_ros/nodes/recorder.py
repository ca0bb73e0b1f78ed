"""Records topics, serialised as they arrive, into an MCAP bag. A subscriber like any other: nothing waits for it.

Messages are stored under the ROS time that they carry, so a lockstep session gives the same bag times on any machine.
"""

import os
from functools import partial

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from tmrl_ros.config import RecorderConfig
from tmrl_ros.data import schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.nodes import runtime, topics
from tmrl_ros.nodes.likeness import is_stamped, stamp_ns

KNOWN = {entry.name: entry for entry in vars(topics).values() if isinstance(entry, topics.Topic)}
FLUSH_S = 0.5  # wall time: what a kill of this process can cost
KEPT_AT_ONCE = ("decision", "episode_event")  # seldom, and what a session that goes on counts
DEPTH = 2000  # messages a topic holds while the disk is slow


class Recorder(Node):
    """Writes what it hears to `bag`."""

    def __init__(self):
        super().__init__("recorder", **runtime.NODE_OPTIONS)
        config = runtime.config_of(self, RecorderConfig)
        unknown = sorted(set(config.topics) - set(KNOWN))
        if unknown:
            raise ConfigError(f"topics: {', '.join(unknown)} cannot be recorded; valid: {', '.join(sorted(KNOWN))}")
        if not config.bag:
            raise ConfigError("bag is empty; set it to the folder that shall be written")
        self._bag = BagWriter(config.bag, os.environ.get("ROS_DISTRO", ""), config.resume)
        self._stamp_ns = 0
        for name in config.topics:
            self._record(KNOWN[name])
        self.create_timer(FLUSH_S, self._flush, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _record(self, topic: topics.Topic) -> None:
        type_name = f"{topic.type.__module__.split('.')[0]}/msg/{topic.type.__name__}"
        latched = topic.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        name = self.resolve_topic_name(topic.name)
        self._bag.add_topic(name, type_name, schema.definition(type_name), schema.type_hash(type_name), latched)
        deep = topic._replace(qos=QoSProfile(depth=DEPTH, durability=topic.qos.durability))
        hear = partial(self._on_message, name, is_stamped(topic.type), topic.name in KEPT_AT_ONCE)
        deep.subscribe(self, hear, raw=True)

    def _on_message(self, name: str, stamped: bool, at_once: bool, data: bytes) -> None:
        if stamped:  # without a stamp: that of the message before
            self._stamp_ns = stamp_ns(data) or self._stamp_ns
        try:
            self._bag.write(name, self._stamp_ns, data)
            if at_once:
                self._bag.commit()
        except OSError as error:
            raise self._cannot_write(error) from None

    def _flush(self) -> None:
        try:
            self._bag.flush()
        except OSError as error:
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> DataError:
        return DataError(f"bag {self._bag.folder} cannot be written ({error.strerror}); make room and start again")

    def close(self) -> None:
        """Called last by runtime.run: the bag gets its index and its final metadata."""
        try:
            self._bag.close()
        except OSError as error:  # said once already, if it is why the node ends
            self.get_logger().error(str(self._cannot_write(error)))


def main() -> None:
    runtime.run(Recorder)
