"""Records topics, serialised as they arrive, into an MCAP bag. A subscriber like any other: nothing waits for it.

Messages are stored under the ROS time that they carry, so a lockstep session gives the same bag times on any machine.
"""

import os
import shutil
import signal
import threading
from functools import partial
from pathlib import Path

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy

from tmrl_ros.config import RecorderConfig
from tmrl_ros.data import bag, schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.nodes import runtime
from tmrl_ros.nodes.likeness import is_stamped, stamp_ns
from tmrl_ros.nodes.recordable import recordable, type_name
from tmrl_ros.nodes.topics import Topic

FLUSH_S = 0.5  # wall time: what a kill of this process can cost
KEPT_AT_ONCE = ("decision", "episode_event")  # seldom, and what a session that goes on counts
GB = 10**9


class Recorder(Node):
    """Writes what it hears to `bag`."""

    def __init__(self):
        super().__init__("recorder", **runtime.NODE_OPTIONS)
        self.config = config = runtime.config_of(self, RecorderConfig)
        wanted = recordable(config.topics)
        attached = {bag.PARAMETERS: config.parameters, bag.CALIBRATION: config.calibration}
        contents = {name: _content(file) for name, file in attached.items() if file}
        if not config.bag:
            raise ConfigError("bag is empty; set it to the folder that shall be written")
        distro = os.environ.get("ROS_DISTRO", "")
        self._bag = BagWriter(config.bag, distro, config.resume, config.segment_s, config.compression, contents)
        self._stamp_ns, self._problem = 0, None
        self._heard_by = {topic.name: self._record(topic) for topic in wanted}
        self.create_timer(FLUSH_S, self._flush, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._ending = threading.Event()
        self._syncing = threading.Thread(target=self._sync, name="sync")
        self._syncing.start()

    def _record(self, topic: Topic):
        kind = type_name(topic)
        latched = topic.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        name = self.resolve_topic_name(topic.name)
        self._bag.add_topic(name, kind, schema.definition(kind), schema.type_hash(kind), latched)
        return self._subscribe(topic.lossless(self.config.timing.waits))

    def _subscribe(self, topic: Topic):
        return topic.subscribe(self, self._hearing(topic), raw=True, event_callbacks=self._on_refusal(topic))

    def _on_refusal(self, topic: Topic) -> SubscriptionEventCallbacks:
        return SubscriptionEventCallbacks(incompatible_qos=partial(self._on_other_qos, topic))

    def _hearing(self, topic: Topic):
        name = self.resolve_topic_name(topic.name)
        return partial(self._on_message, name, is_stamped(topic.type), topic.name in KEPT_AT_ONCE)

    def _on_other_qos(self, topic: Topic, event) -> None:
        """A publisher promises less than was asked for, as drivers of cameras do: ask for no more than any promises."""
        self.destroy_subscription(self._heard_by[topic.name])
        modest, events = QoSProfile(depth=topic.qos.depth), self._on_refusal(topic)
        if event.last_policy_kind == QoSPolicyKind.RELIABILITY:
            self.get_logger().warning(f"{topic.name} is published as best effort: what its transport loses stays lost")
            modest.reliability, events = ReliabilityPolicy.BEST_EFFORT, None
        self._heard_by[topic.name] = self.create_subscription(  # topic.subscribe would read the first one's overrides
            topic.type, topic.name, self._hearing(topic), modest, raw=True, event_callbacks=events
        )

    def _on_message(self, name: str, stamped: bool, at_once: bool, data: bytes) -> None:
        if stamped:  # without a stamp: that of the message before
            self._stamp_ns = stamp_ns(data) or self._stamp_ns
        if self._problem:
            return
        try:
            self._bag.write(name, self._stamp_ns, data)
            if at_once:
                self._bag.commit()
        except OSError as error:
            self._problem = self._cannot_write(error)

    def _flush(self) -> None:
        try:
            self._bag.flush()
        except OSError as error:
            self._problem = self._problem or self._cannot_write(error)
        self._problem = self._problem or self._full()
        if self._problem:
            raise self._problem

    def _full(self) -> DataError | None:
        size, free = self._bag.size_bytes / GB, shutil.disk_usage(self._bag.folder).free / GB
        if self.config.limit_gb and size >= self.config.limit_gb:
            why = f"holds {size:.1f} GB and recorder.limit_gb allows {self.config.limit_gb:g}"
        elif free <= self.config.free_gb:
            why = f"leaves {free:.1f} GB free on its disk and recorder.free_gb keeps {self.config.free_gb:g}"
        else:
            return None
        return DataError(
            f"bag {self._bag.folder} {why}: it is closed whole and recording ends; make room or allow more"
        )

    def _cannot_write(self, error: OSError) -> DataError:
        return DataError(f"bag {self._bag.folder} cannot be written ({error.strerror}); make room and start again")

    def _sync(self) -> None:
        """Keeps the disk up with what is written, in a thread, since a disk may be busy for seconds."""
        try:
            while not self._ending.wait(self.config.sync_s):
                self._bag.sync()
        except OSError as error:
            self._problem = self._cannot_write(error)

    def close(self) -> None:
        """Called last by runtime.run: the bag gets what still waited, its index and its final metadata."""
        try:
            runtime.take_the_rest(self)
        finally:
            self._ending.set()
            self._syncing.join()
            self._close_bag()

    def _close_bag(self) -> None:
        try:
            self._bag.close()
        except OSError as error:  # said once already, if it is why the node ends
            self.get_logger().error(str(self._cannot_write(error)))


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be put into the bag ({error.strerror}); name one that exists") from None


def main() -> None:
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy ends the node; an exception would cut a write in two
    runtime.run(Recorder)
