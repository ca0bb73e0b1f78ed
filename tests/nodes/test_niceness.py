"""A learner that starts, or starts again, takes nothing from control while it loads, and is nicer than that alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
if not sys.platform.startswith("linux"):
    pytest.skip("looks into /proc", allow_module_level=True)


@pytest.mark.parametrize(("name", "added", "prefix"), [("learner", 10, 0), ("learner", 10, 10), ("policy", 0, 3)])
def test_only_a_learner_is_nicer_than_its_session_and_from_its_start(name, added, prefix):
    command = [sys.executable, "-m", "tmrl_ros.nodes", name, "--ros-args", "-p", "no_such_key:=1"]
    command = ["nice", "-n", str(prefix), *command]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        proc, own = Path(f"/proc/{process.pid}"), os.nice(0)
        while "torch" not in (proc / "maps").read_text():  # until it loads what takes long
            assert process.poll() is None
            time.sleep(0.01)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == own + max(added, prefix)
        group = proc / "autogroup"
        assert not group.exists() or group.read_text().endswith(f"nice {added}\n")
    finally:
        process.kill()
        process.wait()
