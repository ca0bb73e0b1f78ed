"""How a node starts, is refused and ends, as a process; and what it sets in its environment."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("rclpy")

from tmrl_ros.nodes import runtime
from tmrl_ros.parameters import nested

PROBE = """
import sys
from rclpy.node import Node
from tmrl_ros.config import SupervisorConfig
from tmrl_ros.errors import ActionError
from tmrl_ros.nodes import runtime

class Probe(Node):
    def __init__(self):
        if "signal" in sys.argv:
            import os, signal, time
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        super().__init__("probe", **runtime.NODE_OPTIONS)
        self.config = runtime.config_of(self, SupervisorConfig)
        print("step", self.config.limits.step_m, flush=True)
        self.create_timer(0.05, self.work)
    def work(self):
        if "fail" in sys.argv: raise ActionError("the action is bad")
        if "finish" in sys.argv: raise SystemExit(3)
        if "collect" in sys.argv:
            import gc
            gc.collect()
            raise SystemExit(int(len(gc.get_objects()) > 5000))
    def close(self):
        print("closed", flush=True)

runtime.run(Probe)
"""


def probe(*arguments, **environment):
    command = [sys.executable, "-c", PROBE, *arguments]
    environment = {**os.environ, **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process):
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_parameters_reach_the_model():
    with probe("finish", "--ros-args", "-p", "limits.step_m:=0.02") as process:
        assert ended(process)[:2] == (3, "step 0.02\nclosed\n")


def test_the_collector_does_not_look_through_what_lives_as_long_as_the_node():
    with probe("collect") as process:
        assert ended(process)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "limts.step_m:=0.02"], "Probe: limts is not a parameter of SupervisorConfig; did you mean limits?\n"),
        (["-p", "limits.step_m:=5.0"], "limits.step_m = 5.0"),
        (["--params-file", "/nowhere.yaml"], "Couldn't parse params file: '--params-file /nowhere.yaml'"),
    ],
)
def test_a_bad_parameter_ends_the_node_with_a_sentence_and_status_2(arguments, sentence):
    with probe("--ros-args", *arguments) as process:
        status, _, err = ended(process)
    assert status == 2
    assert sentence in err
    assert "Traceback" not in err


def test_an_error_in_a_callback_ends_the_node_with_a_sentence():
    with probe("fail") as process:
        assert ended(process) == (2, "step 0.025\nclosed\n", "probe: the action is bad\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_expected_end(number):
    with probe() as process:
        assert process.stdout.readline().startswith("step")
        time.sleep(0.2)
        started_s = time.monotonic()
        process.send_signal(number)
        assert ended(process) == (0, "closed\n", "")
        assert time.monotonic() - started_s < 5


def test_a_signal_while_the_node_is_made_is_no_error():
    with probe("signal") as process:
        assert ended(process) == (0, "", "")


def test_a_node_does_not_outlive_its_starter():
    with probe("--ros-args", **{runtime.STARTER_PID: "1"}) as process:  # 1 is not its parent: the starter is gone
        status, _, err = ended(process)
    assert status == 1
    assert "the starter (process 1) is gone" in err


def test_dotted_names_nest():
    assert nested({"a.b.c": 1, "a.b.d": (2.0,), "e": True}) == {"a": {"b": {"c": 1, "d": [2.0]}}, "e": True}


def test_the_network_is_loopback_unless_a_person_says_otherwise():
    bare = {}
    runtime.use_loopback(bare)
    assert bare["FASTDDS_DEFAULT_PROFILES_FILE"] == str(runtime.PROFILE)
    assert "127.0.0.1" in runtime.PROFILE.read_text()
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    runtime.use_loopback(own)
    assert own == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
