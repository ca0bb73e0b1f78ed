"""`tmrl view`: what perception sees and what the session does, live for Foxglove or Lichtblick, and into a file.

It must not slow the session: a process of its own at NICE, which looks LOOK_HZ times a second of wall time and leaves
the rest unread (nodes/view.py), draws only what a viewer subscribed to, and publishes nothing.
"""

import os
import signal
import time
from pathlib import Path

from tmrl_ros.config import PerceptionConfig, SupervisorConfig, validate
from tmrl_ros.data.exchange import need
from tmrl_ros.errors import DataError
from tmrl_ros.nodes.view import Ears
from tmrl_ros.parameters import read_parameters
from tmrl_ros.session import graph
from tmrl_ros.session.scene import Scene
from tmrl_ros.types import SessionState

NICE = 10
REPEAT_S = 1.0  # wall time after which what stands still is said again, for a viewer that came since
DEAF_S = 10.0  # wall time without a message after which that is said


def run(run_dir: Path, file: Path | None, port: int, namespace: str, look_hz: float) -> None:
    """Until Ctrl-C or SIGTERM; with a file also until the session has ended."""
    need("foxglove", "foxglove-sdk")
    from tmrl_ros.session.foxglove_sink import FoxgloveSink

    perception, supervisor = settings(run_dir)
    scene = Scene(perception, supervisor.limits)
    os.nice(NICE)
    sink = FoxgloveSink(port, file)
    ears = Ears({name: view.topic or f"camera/{name}" for name, view in perception.cameras.items()}, namespace)
    _say(f"ws://127.0.0.1:{sink.port}: open it in Foxglove or Lichtblick, with the layout that --layout writes")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _look(ears, scene, sink, 1 / look_hz, until_ended=file is not None)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        ears.close()
        sink.close()


def _look(ears, scene, sink, period_s, until_ended):
    repeat_s = deaf_s = time.monotonic()
    deaf_s += DEAF_S
    while True:
        began_s = time.monotonic()
        heard = ears.take()
        entries = scene.draw(heard, sink.wanted) + scene.refused(ears.problems)
        if heard and began_s >= repeat_s:
            entries, repeat_s = scene.standing() + entries, began_s + REPEAT_S
        for entry in entries:
            sink.log(entry)
        if heard:
            deaf_s = float("inf")
        elif began_s > deaf_s:
            domain, deaf_s = os.environ.get("ROS_DOMAIN_ID", "0"), float("inf")
            _say(f"nothing is heard on ROS_DOMAIN_ID={domain}; it, and --namespace, must be those of the session")
        ended = any(s == "status" and status.state == SessionState.ENDED for s, _, status in heard)
        if until_ended and (ended or ears.deserted()):
            return
        time.sleep(max(0.0, began_s + period_s - time.monotonic()))


def _say(sentence):
    print(sentence, flush=True)  # a pipe would keep it


def settings(run_dir: Path) -> tuple[PerceptionConfig, SupervisorConfig]:
    """What a session left in its run_dir, or what a parameter file says."""
    file = run_dir / "parameters.yaml" if run_dir.is_dir() else run_dir
    if not file.is_file():
        raise DataError(f"{file} does not exist; start the session first, or name its run_dir or a parameter file")
    parameters = read_parameters(file, graph.SECTIONS | graph.PLAYING)
    return tuple(validate(graph.MODELS[name], parameters[name]) for name in ("perception", "supervisor"))
