"""What a person may get wrong, through the real command: one sentence, a status that is not 0, and no traceback."""

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from tmrl_ros.nodes import convert, topics
from tmrl_ros.nodes.replay import records
from tmrl_ros.session.graph import SessionOptions, build
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import ActionChunk, EpisodeEvent, Mode, Modulation, SessionState

PATIENCE_S = 120.0


def refused(folder, *words) -> str:
    """The sentence with which `tmrl WORDS`, run in `folder`, refuses them."""
    command = [sys.executable, "-m", "tmrl_ros.session.cli", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2, done
    assert done.stderr.startswith("tmrl: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate"], "policy needs a base policy; name its folder, base:=FOLDER"),
        (["evaluate", "base:=nowhere"], "nowhere does not exist; give a folder that `tmrl pretrain`"),
        (["finetune", "mintes:=3"], "mintes is no argument; did you mean minutes?"),
    ],
)
def test_a_bad_argument_starts_nothing(tmp_path, words, sentence):
    assert sentence in refused(tmp_path, "up", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("tcp_sped_m_s: 0.1", "limits.tcp_sped_m_s is not a parameter of SafetyLimits; did you mean tcp_speed_m_s?"),
        ("tcp_speed_m_s: 5.0", "limits.tcp_speed_m_s = 5.0: Input should be less than or equal to 1"),
    ],
)
def test_a_bad_parameter_file_starts_nothing(tmp_path, limit, sentence):
    (tmp_path / "mine.yaml").write_text(f"supervisor: {{ros__parameters: {{limits: {{{limit}}}}}}}")
    assert sentence in refused(tmp_path, "up", "finetune", "params_file:=mine.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_damaged_checkpoint_ends_the_session_with_its_policys_sentence(tmp_path, pretrained):
    shutil.copytree(pretrained.base, tmp_path / "base")
    tensors = tmp_path / "base/tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-9])
    sentence = refused(tmp_path, "up", "evaluate", "base:=base", "run_dir:=run")
    assert "policy ended with status 2" in sentence
    assert "tensors.safetensors: checksum differs, the file is damaged or cut short" in sentence


def test_a_demonstration_store_cut_short_is_not_trained_on(tmp_path, pretrained):
    shutil.copytree(pretrained.demos, tmp_path / "demos.zarr")
    longest = max((tmp_path / "demos.zarr").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    longest.write_bytes(longest.read_bytes()[:-100])
    assert "demos.zarr is damaged" in refused(tmp_path, "pretrain", "demos.zarr", "base")
    assert not (tmp_path / "base").exists()


class Rogue(Node):
    """Answers decisions in the policy's place, with chunks of 5 rows, and ends the session once that holds the arm."""

    def __init__(self, context):
        super().__init__("policy", context=context)
        self.chunks = topics.ACTION_CHUNK.lossless(True).publisher(self)
        self.end_session = topics.END_SESSION.client(self)
        topics.DECISION_REQUEST.lossless(True).subscribe(self, self.on_request)

    def on_request(self, message):
        request = convert.from_msg(message)
        rows, modulation = np.zeros((5, 4), np.float32), Modulation(np.zeros(4, np.float32))
        chunk = ActionChunk(request.stamp_ns, request.episode, request.decision, 0.1, rows, modulation, 1)
        self.chunks.publish(convert.to_msg(chunk))

    def on_status(self, status):
        if status.mode == Mode.HOLD and status.reason:
            self.end_session.call_async(Trigger.Request())


@pytest.fixture
def rogue(ros_context):
    node, executor = Rogue(ros_context), SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield node
    executor.shutdown()
    thread.join()
    node.destroy_node()


def test_a_chunk_of_the_wrong_size_holds_the_arm_with_a_latched_reason(tmp_path, rogue):
    options = SessionOptions(run_dir=str(tmp_path / "run"), base="unused", episodes=3)
    specs = [spec for spec in build("evaluate", options, {"supervisor": {"auto_resume_s": 0}}) if spec.name != "policy"]
    statuses = []

    def on_status(status):
        statuses.append(status)
        rogue.on_status(status)

    assert run_session(specs, tmp_path / "run", on_status) == 0
    reason = "action chunk of shape (5, 4); the robot takes (16, 4)"
    assert reason in {status.reason for status in statuses}
    assert statuses[-1].state == SessionState.ENDED and statuses[-1].holds == 1
    events = [record for record in records(tmp_path / "run/bag") if isinstance(record, EpisodeEvent)]
    assert [(event.kind, event.reason) for event in events] == [("started", ""), ("ended", reason)]
    supervisor = (tmp_path / "run/logs/supervisor.log").read_text()
    assert reason in supervisor and "Traceback" not in supervisor
