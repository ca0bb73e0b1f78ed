"""MCAP bags as rosbag2 writes them: folder/metadata.yaml and folder/<folder>_N.mcap, from serialised messages.

Chunks are small and flushed on demand, so a recorder that is killed loses only what came after its last flush. A bag
that goes on gets another file, after the end of a file that a kill had cut off was written anew. A long one gets one
every `segment_s`: memory stays flat, and a file can be taken away while the next is written.
"""

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import yaml

from tmrl_ros.data import bag
from tmrl_ros.data.bag_metadata import FileFacts, TopicFacts, information
from tmrl_ros.data.bag_segment import Segment, mend
from tmrl_ros.errors import DataError

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C: 3 ms rather than 47 ms a flush


class BagWriter:
    """Writes one bag; metadata.yaml is there from the start and brought up to date by every flush.

    With `resume` an existing bag goes on; otherwise it is refused. Each file carries `attachments` (name -> content).
    """

    def __init__(
        self,
        folder: str | Path,
        ros_distro: str = "",
        resume: bool = False,
        segment_s: float = 0.0,
        compression: str = "zstd",
        attachments: Mapping[str, bytes] | None = None,
    ):
        self.folder = Path(folder)
        self._ros_distro, self._segment_ns = ros_distro, int(segment_s * 1e9)
        self._compression, self._attachments = compression, attachments or {}
        self._topics: dict[str, TopicFacts] = {}
        self._definitions: dict[str, str] = {}  # of the topics that are written
        self._files: list[FileFacts] = []  # the last one is being written
        self._finished: deque[Segment] = deque()  # that the disk may not have yet
        self._closed = False
        if self.folder.exists():
            if not resume:
                raise DataError(f"Bag {self.folder} already exists; choose another folder or remove it")
            self._take_up()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._segment = self._begin()
        self.flush()

    def _take_up(self) -> None:
        """Mend the files that are there, and count what they hold."""
        for number, file in enumerate(sorted(self.folder.glob("*.mcap"), key=lambda path: (len(path.name), path.name))):
            if file.name != f"{self.folder.name}_{number}.mcap":
                raise DataError(f"{file} is not of a bag that can go on; record into another folder")
            mend(file)
            facts = FileFacts(file.name, size_bytes=file.stat().st_size)
            for message, channel, schema in bag.records(file):
                facts.add(message.log_time)
                latched = "transient_local" in channel.metadata.get("offered_qos_profiles", "")
                type_hash = channel.metadata.get("topic_type_hash", "")
                topic = TopicFacts(channel.topic, schema.name, type_hash, latched)
                self._topics.setdefault(channel.topic, topic).count += 1
            self._files.append(facts)

    def _begin(self) -> Segment:
        path = self.folder / f"{self.folder.name}_{len(self._files)}.mcap"
        told = information([*self._files, FileFacts(path.name)], self._topics.values(), self._ros_distro)
        segment = Segment(path, told, self._attachments, self._compression)
        for name, definition in self._definitions.items():
            segment.add_topic(self._topics[name], definition)
        self._files.append(segment.facts)
        return segment

    def add_topic(self, topic: str, type_name: str, definition: str, type_hash="", latched=False) -> None:
        """Announce a topic before its first message; `definition` is schema.definition(type_name)."""
        before = self._topics[topic].count if topic in self._topics else 0
        self._topics[topic] = TopicFacts(topic, type_name, type_hash, latched, before)
        self._definitions[topic] = definition
        self._segment.add_topic(self._topics[topic], definition)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        span_ns = self._segment.facts.span_ns
        if self._segment_ns and span_ns and stamp_ns - span_ns[0] >= self._segment_ns:
            self._next_file()
        self._segment.write(topic, stamp_ns, data)
        self._topics[topic].count += 1

    def _next_file(self) -> None:
        self._segment.finish()
        self._finished.append(self._segment)
        self._segment = self._begin()

    @property
    def size_bytes(self) -> int:
        """Of all files, as of the last commit."""
        return sum(file.size_bytes for file in self._files)

    def commit(self) -> None:
        """Hand everything written so far to the operating system: it survives the death of this process."""
        self._segment.commit()

    def flush(self) -> None:
        """The same, and metadata.yaml says so."""
        self.commit()
        content = {"rosbag2_bagfile_information": information(self._files, self._topics.values(), self._ros_distro)}
        temporary = self.folder / ".metadata.yaml.tmp"
        temporary.write_text(yaml.dump(content, Dumper=DUMPER, sort_keys=False))
        os.replace(temporary, self.folder / "metadata.yaml")

    def sync(self) -> None:
        """Wait until the disk has what was committed. Meant for one thread of its own: writing goes on meanwhile."""
        segment = self._segment
        self._close_finished()
        segment.sync()  # open, even if it was finished just now: it is closed here or by `close`

    def close(self) -> None:
        """End the bag with its index, and wait until the disk has it; where a thread syncs, end that first."""
        if self._closed:
            return
        self._closed = True
        self.flush()
        self._segment.finish()
        self._close_finished()
        self._segment.close()

    def _close_finished(self) -> None:
        while self._finished:
            self._finished.popleft().close()

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()
