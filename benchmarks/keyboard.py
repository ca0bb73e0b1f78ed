"""Demonstrations with the keyboard: a scripted person presses the keys of a real terminal.

    python benchmarks/keyboard.py [--quick] [--episodes 20] [--seed 0]

`tmrl up collect device:=keyboard` runs in a pseudo-terminal, in real time, every node a process. The person sees the
simulation's cube, TCP and hand over DDS, and all that it does is write characters to the terminal: c, a letter for each
axis at each look (a capital where the way is long), space for the hand, enter to keep and x where an episode took too
long. The bag becomes a store by `tmrl data import`.

The last line is {"wanted", "kept", "imported", "rows", "not_kept", "robot_minutes"}, not_kept by reason; --quick makes
two episodes.
"""

import argparse
import json
import os
import platform
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tmrl_ros.data import store
from tmrl_ros.nodes import convert, topics
from tmrl_ros.nodes.replay import records
from tmrl_ros.nodes.runtime import use_loopback
from tmrl_ros.nodes.teleop import SOURCES
from tmrl_ros.perception.join import StampJoin
from tmrl_ros.robot.teleop_script import ScriptedTeleop
from tmrl_ros.session.domain import reserved_domain
from tmrl_ros.types import EpisodeEvent

RESULTS = Path(__file__).parent / "results"
TMRL = [sys.executable, "-m", "tmrl_ros.session.cli"]
AXES = ("ws", "ad", "rf")  # keys towards + and - of the base's x, y and z
SMALL, LARGE = 0.12, 0.6  # of a velocity share: from which a letter is pressed, and a capital
LOOKS_NS = 100_000_000
LONG_S = 7.5  # of an episode, after which the person does it again rather than have it cut
PATIENCE_S = 60.0  # of wall time for an episode, its reset and the session's start


class Person(Node):
    """Sees with its own eyes, and presses keys."""

    def __init__(self, context: Context, seed: int, terminal: int):
        super().__init__("person", context=context)
        self._script, self._join, self._terminal = ScriptedTeleop("pick_cube", seed), StampJoin(SOURCES), terminal
        self._closed, self._began_ns, self._looked_ns, self._clutched = False, None, 0, False
        for name, (topic, value_of) in SOURCES.items():
            topic.subscribe(self, partial(self._on_seen, name, value_of))
        topics.EPISODE_EVENT.subscribe(self, self._on_event)

    def _on_event(self, message) -> None:
        self._began_ns = convert.stamp_of(message) if message.kind == "started" else None
        if message.kind == "ended":
            self._closed = False  # the reset opens the hand

    def _on_seen(self, name, value_of, message) -> None:
        joined = self._join.add(name, convert.stamp_of(message), value_of(message))
        if not joined or self._began_ns is None or joined[0] - self._looked_ns < LOOKS_NS:
            return
        self._looked_ns, seen = joined
        wish = self._script.answer(
            self._looked_ns, seen["tcp"], seen["task"].objects_m[0], seen["width"], seen["task"].success
        )
        self._press(wish)

    def _press(self, wish) -> None:
        keys = "" if self._clutched else "c"
        self._clutched = True
        for (up, down), share in zip(AXES, wish.velocity, strict=True):
            key = up if share > 0 else down
            keys += key.upper() if abs(share) > LARGE else key if abs(share) > SMALL else ""
        if wish.close_gripper != self._closed:
            self._closed, keys = wish.close_gripper, keys + " "
        if wish.keep:
            keys += "\r"
        elif self._looked_ns - self._began_ns > LONG_S * 1e9:
            keys += "x"
        os.write(self._terminal, keys.encode())


def collect(run_dir: Path, episodes: int, seed: int) -> int:
    """The exit status of the session."""
    master, terminal = pty.openpty()
    options = [f"run_dir:={run_dir}", f"episodes:={episodes}", f"seed:={seed}", "device:=keyboard"]
    with reserved_domain() as domain:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        use_loopback(os.environ)
        session = subprocess.Popen([*TMRL, "up", "collect", *options], stdin=terminal, env=environment)
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        person, executor = Person(context, seed, master), SingleThreadedExecutor(context=context)
        executor.add_node(person)
        threading.Thread(target=partial(_drain, master), daemon=True).start()
        end_s = time.monotonic() + PATIENCE_S * (episodes + 1)
        while session.poll() is None and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
        if session.poll() is None:
            session.terminate()
        person.destroy_node()
        rclpy.shutdown(context=context)
        return session.wait(30)


def _drain(master: int) -> None:
    """What the terminal shows is read, so that it never fills."""
    while True:
        try:
            os.read(master, 4096)
        except OSError:
            return


def outcome(run_dir: Path, episodes: int) -> dict:
    """What came of it: of the bag, and of the store that `tmrl data import` makes of it."""
    ended = [r for r in records(run_dir / "bag") if isinstance(r, EpisodeEvent) and r.kind == "ended"]
    demos = run_dir / "demos.zarr"
    subprocess.run([*TMRL, "data", "import", str(run_dir / "bag"), str(demos)], check=True)
    stored = store.read(demos)
    return {
        "wanted": episodes,
        "kept": sum(event.counted for event in ended),
        "imported": len(stored.ends),
        "rows": len(stored.actions),
        "not_kept": dict(Counter(event.reason for event in ended if not event.counted)),
        "robot_minutes": round(ended[-1].robot_time_s / 60, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two episodes, within a minute; writes nothing")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    episodes = 2 if options.quick else options.episodes
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "keys"
        status = collect(run_dir, episodes, options.seed)
        if status:
            raise SystemExit(f"the session ended with status {status}")
        found = outcome(run_dir, episodes)
    if not options.quick:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, shared"
        command = f"python benchmarks/keyboard.py --episodes {episodes} --seed {options.seed}"
        head = f"# Demonstrations with the keyboard of a terminal\n\n`{command}`, on {machine}:"
        (RESULTS / "keyboard.md").write_text(f"{head}\n\n    {json.dumps(found)}\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
