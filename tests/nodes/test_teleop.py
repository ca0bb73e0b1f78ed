"""What the teleop node refuses."""

import subprocess
import sys


def test_a_device_with_a_driver_of_its_own_is_refused_with_its_name():
    main = "from tmrl_ros.nodes.teleop import main; main()"
    command = [sys.executable, "-c", main, "--ros-args", "-p", "device:=joy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "joy_node" in done.stderr and "Traceback" not in done.stderr
