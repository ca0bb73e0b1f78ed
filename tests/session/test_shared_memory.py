"""Segments of Fast DDS whose process was killed are removed; those in use and what is not Fast DDS's stay."""

import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
from tmrl_ros.session import shared_memory

PARTICIPANT = "import rclpy, time; rclpy.init(); n = rclpy.create_node('a'); print('up', flush=True); time.sleep(600)"


def segments():
    return {path.name for path in shared_memory.FOLDER.iterdir() if shared_memory.SEGMENT.fullmatch(path.name)}


@pytest.fixture
def participant(ros_domain):
    """(process, names of the segments that it made), alive."""
    before = segments()
    process = subprocess.Popen([sys.executable, "-c", PARTICIPANT], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    yield process, segments() - before
    process.kill()
    process.wait()


def test_only_what_a_killed_process_left_is_removed(participant, monkeypatch):
    monkeypatch.setattr(shared_memory, "SETTLED_S", 0.0)
    process, made = participant
    assert made
    shared_memory.remove_abandoned()
    assert made <= segments(), "its process lives"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert shared_memory.remove_abandoned() > 0
    assert not made & segments()
    assert not [path for path in shared_memory.FOLDER.iterdir() if path.name[: -len("_el")] in made]


def test_what_was_made_just_now_and_what_others_made_stays(tmp_path):
    for name in ("fastdds_0123456789abcdef", "fastdds_0123456789abcdef_el", "fastdds_port7410", "sem.mp-0123", "mine"):
        (tmp_path / name).write_bytes(b"1")
    before = sorted(tmp_path.iterdir())
    assert shared_memory.remove_abandoned(tmp_path) == 0
    assert sorted(tmp_path.iterdir()) == before


def test_a_machine_without_the_folder_is_left_alone(tmp_path):
    assert shared_memory.remove_abandoned(tmp_path / "none") == 0
