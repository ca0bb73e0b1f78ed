"""Does the recorder lose anything? Two 640x480 colour and depth cameras at 30 Hz and joint states at 1 kHz, over DDS.

    python benchmarks/recording.py [--quick] [--minutes M] [--compression zstd|lz4|none] [--keep]

Three publishers and the recorder node are processes of their own, with the nodes' transport and quality of service.
Images are a scene with the noise of a sensor, as colour and depth have it, so that compression meets what it would of a
camera. Stamps count: message k of a topic is stamped k periods after the first, so each one that is missing in the bag
is known by its number. Finished files of the bag are counted by their index and taken away as one would to another
disk, since ten minutes are 55 GB; --keep leaves them. The last two are read wholly, against their checksums.

The last line is {"messages", "dropped", "rss_growth_mb", "cpu_share"}: sent, sent and not in the bag, growth of the
recorder's memory from its second tenth of the time to its last, and its CPU time as a share of one core. Without
--quick (20 s) the outcome is also written to benchmarks/results/recording.md and .png.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tmrl_ros.session.domain import reserved_domain

CAMERAS, HEIGHT_PX, WIDTH_PX = ("front", "wrist"), 480, 640
CAMERA_HZ, STATE_HZ = 30, 1000
START_NS = 1_700_000_000 * 10**9  # stamp of each topic's first message
FRAMES = 12  # different images of each camera, shown in turn
QUICK_MINUTES, QUICK_SEGMENT_S, SEGMENT_S = 1 / 3, 5, 30
PATIENCE_S = 30.0
CATCH_UP_S = 3.0  # without a message, after which no more are waited for
SHOWN = 6  # runs of lost messages
RESULTS = Path(__file__).parent / "results"


# ---- publishers, each a process -------------------------------------------------------------------------------------


def publish(pipe, source: str, domain: int) -> None:
    """Says that it is ready; told for how many seconds, publishes and says how many of each topic it sent."""
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    from tmrl_ros.nodes import runtime

    runtime.use_loopback(os.environ)
    import rclpy
    from rclpy.node import Node

    rclpy.init()
    node = Node(f"{source}_publisher")
    rate_hz, streams = state(node) if source == "state" else camera(node, source)
    while not all(publisher.get_subscription_count() for publisher, _ in streams):
        time.sleep(0.01)
    pipe.send("ready")
    count, late_s = pipe.recv() * rate_hz, 0.0
    begin_s = time.monotonic() + 0.5
    for k in range(count):
        wait_s = begin_s + k / rate_hz - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        late_s = max(late_s, -wait_s)
        for publisher, messages in streams:
            publisher.publish(stamped(messages[k % len(messages)], START_NS + k * 10**9 // rate_hz))
    for publisher, _ in streams:
        publisher.wait_for_all_acked()
    pipe.send(({publisher.topic_name: count for publisher, _ in streams}, late_s, time.process_time()))
    pipe.recv()


def stamped(message: bytearray, stamp_ns: int) -> bytes:
    """A serialised message under another stamp: its first field is its header."""
    message[4:12] = b"".join(part.to_bytes(4, "little") for part in divmod(stamp_ns, 10**9))
    return bytes(message)


def state(node):
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import JointState

    from tmrl_ros import fr3
    from tmrl_ros.nodes import topics

    message = JointState(name=fr3.JOINT_NAMES, position=[0.1] * 7, velocity=[0.2] * 7, effort=[0.3] * 7)
    return STATE_HZ, [(topics.JOINT_STATES.publisher(node), [bytearray(serialize_message(message))])]


def camera(node, name: str):
    from rclpy.serialization import serialize_message

    from tmrl_ros.nodes import convert
    from tmrl_ros.nodes.camera_topics import camera_topics, info_msg, optical_frame
    from tmrl_ros.perception.camera import Intrinsics

    frame, rng = optical_frame(name), np.random.default_rng(CAMERAS.index(name))
    lens = Intrinsics(WIDTH_PX, HEIGHT_PX, (615.0, 615.0), (319.5, 239.5))
    contents = (
        [convert.image_msg(0, frame, colour) for colour in colours(rng)],
        [convert.image_msg(0, frame, depth_mm) for depth_mm in depths(rng)],
        [info_msg(0, frame, lens)],
    )
    publishers = [topic.publisher(node) for topic in camera_topics(f"camera/{name}")]
    return CAMERA_HZ, [
        (publisher, [bytearray(serialize_message(message)) for message in messages])
        for publisher, messages in zip(publishers, contents, strict=True)
    ]


def colours(rng):
    """Uint8 [480, 640, 3]: patches of colour under a gradient of light, and noise of 3 counts."""
    patches = rng.uniform(20, 220, (12, 16, 3)).repeat(40, 0).repeat(40, 1)
    light = np.linspace(0.7, 1.1, WIDTH_PX)[None, :, None]
    for _ in range(FRAMES):
        yield np.clip(patches * light + rng.normal(0, 3, patches.shape), 0, 255).astype(np.uint8)


def depths(rng):
    """Uint16 [480, 640] in mm: a tilted table with boxes on it, noise of 2 mm, and holes."""
    rows = np.linspace(900, 600, HEIGHT_PX)[:, None]
    boxes = rng.choice([0, 0, 0, 60], (12, 16)).repeat(40, 0).repeat(40, 1)
    for _ in range(FRAMES):
        depth_mm = rows - boxes + rng.normal(0, 2, boxes.shape)
        yield np.where(rng.random(boxes.shape) < 0.05, 0, depth_mm).astype(np.uint16)


# ---- the bag --------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What the bag's files held; a stamp names a message of its topic."""

    stamps_ns: dict[str, list[int]] = field(default_factory=dict)
    size_bytes: int = 0
    names: list[str] = field(default_factory=list)  # of files

    def take(self, file: Path, keep: bool) -> None:
        """Count a finished file by its index, once, and take it away."""
        if file.name in self.names:
            return
        for topic, stamps_ns in indexed(file).items():
            self.stamps_ns.setdefault(topic, []).extend(stamps_ns)
        self.size_bytes += file.stat().st_size
        self.names.append(file.name)
        if not keep:
            file.unlink()

    def missing(self, topic: str, count: int, rate_hz: int) -> list[int]:
        """Numbers of the messages that are not there, of `count` that were sent."""
        there = set(self.stamps_ns.get(topic, ()))
        return [k for k in range(count) if START_NS + k * 10**9 // rate_hz not in there]


def indexed(file: Path) -> dict[str, list[int]]:
    """Stamps of a file's messages by topic, as its index has them: images are not read."""
    from mcap.data_stream import ReadDataStream
    from mcap.reader import make_reader
    from mcap.records import MessageIndex

    stamps_ns: dict[str, list[int]] = {}
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
        for chunk in summary.chunk_indexes:
            for channel, at in chunk.message_index_offsets.items():
                stream.seek(at + 9)  # opcode and length
                index = MessageIndex.read(ReadDataStream(stream))
                topic = summary.channels[channel].topic
                stamps_ns.setdefault(topic, []).extend(stamp_ns for stamp_ns, _ in index.records)
    return stamps_ns


def read_wholly(file: Path) -> Counter:
    """Messages by topic, each chunk against its checksum, and each stamped as it is stored."""
    from tmrl_ros.data import bag
    from tmrl_ros.nodes.likeness import stamp_ns

    counts = Counter()
    for message in bag.read(file):
        counts[message.topic] += stamp_ns(message.data) == message.stamp_ns
    return counts


# ---- the measurement ------------------------------------------------------------------------------------------------


def start_recorder(folder: Path, names: list[str], options: argparse.Namespace, domain: int) -> subprocess.Popen:
    from tmrl_ros.nodes import runtime

    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
    runtime.use_loopback(environment)
    values = {
        "bag": folder,
        "topics": f"[{', '.join(names)}]",
        "segment_s": float(options.segment_s),
        "compression": options.compression,
    }
    parameters = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "tmrl_ros.nodes", "recorder", "--ros-args", *parameters]
    return subprocess.Popen(command, env=environment)


def measure(scratch: Path, options: argparse.Namespace, domain: int) -> dict:
    from tmrl_ros.nodes import topics
    from tmrl_ros.nodes.camera_topics import camera_topics

    spawn, folder = multiprocessing.get_context("spawn"), scratch / "bag"
    names = [topics.JOINT_STATES.name, *(t.name for name in CAMERAS for t in camera_topics(f"camera/{name}"))]
    recorder = start_recorder(folder, names, options, domain)
    ends, processes = [], []
    try:
        for source in (*CAMERAS, "state"):
            here, there = spawn.Pipe()
            process = spawn.Process(target=publish, args=(there, source, domain), daemon=True)
            process.start()
            ends.append(here)
            processes.append(process)
        for end in ends:
            if not end.poll(PATIENCE_S) or end.recv() != "ready":
                raise SystemExit(f"a publisher found no recorder within {PATIENCE_S:g} s")
        return watch(recorder, folder, ends, options)
    finally:
        recorder.kill()
        recorder.wait()
        for process in processes:
            process.kill()
            process.join()


def watch(recorder, folder: Path, ends, options: argparse.Namespace) -> dict:
    watched, found, samples = psutil.Process(recorder.pid), Found(), []
    seconds = round(options.minutes * 60)
    before, begin_s = watched.cpu_times(), time.monotonic()
    for end in ends:
        end.send(seconds)
    while not all(end.poll() for end in ends):
        samples.append((time.monotonic() - begin_s, watched.memory_info().rss / 2**20, *os.getloadavg()[:1]))
        for file in finished(folder)[:-1]:  # one more stays, to be read wholly at the end
            found.take(file, options.keep)
        if recorder.poll() is not None:
            raise SystemExit(f"the recorder ended with status {recorder.returncode} after {samples[-1][0]:.0f} s")
        time.sleep(1.0)
    wall_s = time.monotonic() - begin_s
    told = [end.recv() for end in ends]
    sent = {topic: count for counts, _, _ in told for topic, count in counts.items()}
    behind_s = caught_up(folder, sum(sent.values()))
    after = watched.cpu_times()
    recorder.send_signal(signal.SIGINT)
    if recorder.wait(120):
        raise SystemExit(f"the recorder ended with status {recorder.returncode}")
    last = finished(folder, all_of_them=True)
    checked = sum((read_wholly(file) for file in last), Counter())
    for file in last:
        found.take(file, options.keep)
    for end in ends:
        end.send("end")
    cpu_s = {kind: getattr(after, kind) - getattr(before, kind) for kind in ("user", "system")}
    return {
        "sent": sent,
        "heard": heard(folder),
        "behind_s": behind_s,
        "late_s": max(late_s for _, late_s, _ in told),
        "publishers_cpu_s": sum(used_s for *_, used_s in told),
        "found": found,
        "read_wholly": sum(checked.values()),
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "samples": samples,
    }


def caught_up(folder: Path, count: int) -> float:
    """Seconds until the recorder has written `count` messages, or until it writes no more of them."""
    begin_s = last_s = time.monotonic()
    before = heard(folder)
    while before < count and time.monotonic() - last_s < CATCH_UP_S:
        time.sleep(0.1)
        now = heard(folder)
        if now > before:
            before, last_s = now, time.monotonic()
    return last_s - begin_s


def finished(folder: Path, all_of_them: bool = False) -> list[Path]:
    """Files that are no longer written, in their order."""
    files = sorted(folder.glob("*.mcap"), key=lambda file: (len(file.name), file.name))
    return files if all_of_them else files[:-1]


def heard(folder: Path) -> int:
    """Messages that the recorder says it wrote."""
    import yaml

    return yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["message_count"]


# ---- the report -----------------------------------------------------------------------------------------------------


def result(measured: dict) -> dict:
    dropped = sum(len(missing) for missing in lost(measured).values())
    return {
        "messages": sum(measured["sent"].values()),
        "dropped": dropped,
        "rss_growth_mb": round(growth_mb(measured["samples"]), 1),
        "cpu_share": round(sum(measured["cpu_s"].values()) / measured["wall_s"], 3),
    }


def lost(measured: dict) -> dict[str, list[int]]:
    found = measured["found"]
    rates = {topic: STATE_HZ if topic.endswith("joint_states") else CAMERA_HZ for topic in measured["sent"]}
    return {topic: found.missing(topic, count, rates[topic]) for topic, count in measured["sent"].items()}


def growth_mb(samples) -> float:
    rss_mb = np.array([rss for _, rss, _ in samples])
    tenth = max(1, len(rss_mb) // 10)
    return float(np.median(rss_mb[-tenth:]) - np.median(rss_mb[tenth : 2 * tenth]))


def table(measured: dict) -> list[str]:
    found, missing = measured["found"], lost(measured)
    lines = ["| topic | sent | in the bag | lost |", "|---|---|---|---|"]
    for topic, count in measured["sent"].items():
        there = len(found.stamps_ns.get(topic, ()))
        lines.append(f"| {topic} | {count} | {there} | {spans(missing[topic])} |")
    return lines


def spans(numbers: list[int]) -> str:
    """How many, and which, such as 3 (5-6, 9)."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    said = ", ".join(f"{group[0]}-{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups[:SHOWN])
    return f"{len(numbers)} ({said}{', ...' if len(groups) > SHOWN else ''})" if numbers else "0"


def facts(measured: dict) -> list[str]:
    found, wall_s, cpu = measured["found"], measured["wall_s"], measured["cpu_s"]
    raw_mb = 2 * CAMERA_HZ * HEIGHT_PX * WIDTH_PX * 5 / 1e6
    rss, load = [r for _, r, _ in measured["samples"]], [load for *_, load in measured["samples"]]
    return [
        f"- {wall_s:.0f} s of wall time; images of {raw_mb:.0f} MB/s, {found.size_bytes / wall_s / 1e6:.0f} MB/s in "
        f"{len(found.names)} files of the bag ({found.size_bytes / 1e9:.1f} GB in all).",
        f"- The recorder says it wrote {measured['heard']} messages; {measured['read_wholly']} in its last files were "
        "read wholly, against their checksums, and are stamped as they are stored.",
        f"- Recorder: {cpu['user'] / wall_s:.2f} of a core in user mode, {cpu['system'] / wall_s:.2f} in the kernel; "
        f"publishers together {measured['publishers_cpu_s'] / wall_s:.2f}.",
        f"- Resident memory of the recorder {min(rss):.0f} to {max(rss):.0f} MB.",
        f"- The recorder was {measured['behind_s']:.1f} s behind at the end. A publisher was at most "
        f"{1e3 * measured['late_s']:.0f} ms late. Load average of the machine: {min(load):.1f} to {max(load):.1f}.",
    ]


def report(measured: dict, options: argparse.Namespace) -> str:
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, shared with other work"
    )
    last = json.dumps(result(measured))
    parts = [
        "# Recording cameras and joint states",
        f"`{options.command}`, on {machine}.",
        "\n".join(table(measured)),
        "\n".join(facts(measured)),
        "![Resident memory of the recorder](recording.png)",
        "Memory rises where the recorder had to wait, for a core or for the disk: its queue grows to what came "
        "meanwhile, and Fast DDS keeps what it once took. 90 images a topic, about 280 MB, bound it; between such "
        "waits it is flat.",
        f"    {last}",
    ]
    return "\n\n".join(parts) + "\n"


def plot(samples, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    seconds, rss_mb, load = zip(*samples, strict=True)
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(np.array(seconds) / 60, rss_mb, label="resident memory of the recorder")
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, 1.2 * max(rss_mb)))
    beside = axes.twinx()
    beside.plot(np.array(seconds) / 60, load, color="tab:gray", lw=0.8, label="load average of the machine")
    beside.set(ylabel="load average", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 s, and no report")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--compression", choices=("zstd", "lz4", "none"), default="zstd")
    parser.add_argument("--keep", action="store_true", help="leave the bag where it was written")
    parser.add_argument("--folder", type=Path, help="where to write it; empty: the folder for temporary files")
    options = parser.parse_args()
    options.command = "python benchmarks/recording.py " + " ".join(sys.argv[1:])
    options.minutes = QUICK_MINUTES if options.quick else options.minutes
    options.segment_s = QUICK_SEGMENT_S if options.quick else SEGMENT_S
    scratch = Path(tempfile.mkdtemp(prefix="recording_", dir=options.folder))
    try:
        check_room(scratch, options)
        with reserved_domain() as domain:
            measured = measure(scratch, options, domain)
    finally:
        if not options.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    print("\n".join([*table(measured), *facts(measured)]))
    if not options.quick:
        plot(measured["samples"], RESULTS / "recording.png")
        (RESULTS / "recording.md").write_text(report(measured, options))
    print(json.dumps(result(measured)))


def check_room(folder: Path, options: argparse.Namespace) -> None:
    seconds = options.minutes * 60 if options.keep else 4 * options.segment_s
    need_gb, free_gb = seconds * 0.095 + 1.0, shutil.disk_usage(folder).free / 1e9
    if free_gb < need_gb:
        raise SystemExit(
            f"{folder} has {free_gb:.0f} GB free and {need_gb:.0f} are needed; make room or name a --folder"
        )


if __name__ == "__main__":
    main()
