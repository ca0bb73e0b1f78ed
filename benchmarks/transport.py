"""From camera to policy over DDS: Observations with a cloud of 1024 points and two images of 128x128.

    python benchmarks/transport.py [--quick]

One writer and one reader with the nodes' settings (nodes/fastdds.xml, through runtime.use_loopback), one of each with
ROS's default: four processes, of which one pair is at work at a time. Settings and messages take turns in blocks, so
that all meet the same machine. A time goes from the record in the writer to the same record in the reader: conversion,
serialisation, transport, executor, conversion back. Images of 640x480, as perception gets them, are timed beside. The
last line is JSON and of the Observations: p99_ms with our settings, ratio_to_default the default's p99 by ours. Without
--quick the outcome is also written to benchmarks/results/transport.md.
"""

import argparse
import json
import multiprocessing
import os
import platform
import time
from pathlib import Path

import numpy as np

from tmrl_ros.session.domain import reserved_domain

HZ, BLOCK = 30.0, 20
ROUNDS, QUICK_ROUNDS = 30, 5  # blocks of each setting and message; one more warms up
PATIENCE_S = 20.0
SETTINGS, MESSAGES = ("ours", "default"), ("observation", "image 640x480")
OWN = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION")
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
RESULT = Path(__file__).parent / "results" / "transport.md"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} blocks rather than {ROUNDS}")
    quick = arguments.parse_args().quick
    with reserved_domain() as one, reserved_domain() as other:
        times_s = measure(QUICK_ROUNDS if quick else ROUNDS, dict(zip(SETTINGS, (one, other), strict=True)))
    lines = [row(*key, seconds) for key, seconds in sorted(times_s.items(), reverse=True)]
    print("\n".join(lines))
    ours, default = (float(np.percentile(times_s["observation", setting], 99)) for setting in SETTINGS)
    last = json.dumps({"p99_ms": round(1e3 * ours, 2), "ratio_to_default": round(default / ours, 2)})
    if not quick:
        RESULT.write_text(report(lines, last))
    print(last)


def row(message, setting, seconds):
    median, p99 = 1e3 * np.percentile(seconds, (50, 99))
    times = f"median {median:6.2f} ms   p99 {p99:6.2f} ms   longest {1e3 * max(seconds):6.2f} ms"
    return f"{message:14} {setting:8} {len(seconds)} times   {times}"


def report(lines, last):
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load average at the end {os.getloadavg()[0]:.1f}"
    figures = "\n".join(f"    {line}" for line in [*lines, last])
    return f"# Camera to policy over DDS\n\n`python benchmarks/transport.py`, {machine}.\n\n{figures}\n"


def measure(rounds, domains):
    """(message, setting) -> seconds of each, every setting in a ROS domain of its own."""
    spawn = multiprocessing.get_context("spawn")
    pairs = {setting: pair(spawn, setting, domain) for setting, domain in domains.items()}
    times_s = {(message, setting): [] for message in MESSAGES for setting in SETTINGS}
    try:
        for number in range(rounds + 1):
            for message, setting in sorted(times_s, reverse=bool(number % 2)):
                reader, writer = (end for end, _ in pairs[setting])
                block_s = one_block(reader, writer, message)
                times_s[message, setting] += block_s if number else []
    finally:
        for end, process in (both for ends in pairs.values() for both in ends):
            end.send(None)
            process.join(PATIENCE_S)
    return times_s


def pair(spawn, setting, domain):
    """A reader and a writer: for each the end of a pipe and the process."""
    made = []
    for work in (read, write):
        here, there = spawn.Pipe()
        process = spawn.Process(target=work, args=(there, setting, domain), daemon=True)
        process.start()
        made.append((here, process))
    return made


def one_block(reader, writer, message):
    reader.send(message)
    writer.send(message)
    if not reader.poll(PATIENCE_S + BLOCK / HZ):
        raise SystemExit(f"not all of {BLOCK} messages ({message}) arrived within {PATIENCE_S:g} s")
    return reader.recv()


def started(name, setting, domain):
    """A node on this setting's transport, and its executor."""
    for variable in (*OWN, *PROFILES):
        os.environ.pop(variable, None)
    import rclpy
    from rclpy.node import Node

    from tmrl_ros.nodes import runtime

    if setting == "ours":
        runtime.use_loopback(os.environ)
    rclpy.init(domain_id=domain)
    node, executor = Node(name), runtime.make_executor()
    executor.add_node(node)
    return node, executor


def image_topic():
    from tmrl_ros.nodes.camera_topics import camera_topics

    return camera_topics("camera/front").color


def read(pipe, setting, domain):
    """Answers each name of a message with the seconds of its next BLOCK arrivals, until it is told None."""
    node, executor = started("reader", setting, domain)
    from tmrl_ros.nodes import convert, topics

    heard_s = []

    def on_observation(message):
        heard_s.append((time.monotonic_ns() - convert.from_msg(message).stamp_ns) * 1e-9)

    def on_image(message):
        convert.image_from(message)
        heard_s.append((time.monotonic_ns() - convert.stamp_of(message)) * 1e-9)

    topics.OBSERVATION.subscribe(node, on_observation)
    image_topic().subscribe(node, on_image)
    while pipe.recv():
        end_s = time.monotonic() + PATIENCE_S
        while len(heard_s) < BLOCK and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
        if len(heard_s) == BLOCK:
            pipe.send(heard_s[:])
        heard_s.clear()


def write(pipe, setting, domain):
    """Publishes BLOCK messages of each name it is told, stamped with the monotonic clock, until it is told None."""
    node, _ = started("writer", setting, domain)
    from tmrl_ros.nodes import convert, topics
    from tmrl_ros.types import Observation

    rng = np.random.default_rng(0)
    cloud, state = rng.random((1024, 3), np.float32), np.zeros(10, np.float32)
    images = {name: rng.integers(0, 255, (128, 128, 3)).astype(np.uint8) for name in ("front", "wrist")}
    large = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
    make = {
        "observation": lambda now_ns: convert.to_msg(Observation(now_ns, state, images, cloud)),
        "image 640x480": lambda now_ns: convert.image_msg(now_ns, "front", large),
    }
    publishers = dict(zip(MESSAGES, (topics.OBSERVATION.publisher(node), image_topic().publisher(node)), strict=True))
    while message := pipe.recv():
        while not publishers[message].get_subscription_count():
            time.sleep(0.01)
        time.sleep(0.1)  # discovery goes both ways, and the other pair comes to rest
        for _ in range(BLOCK):
            publishers[message].publish(make[message](time.monotonic_ns()))
            time.sleep(1 / HZ)


if __name__ == "__main__":
    main()
