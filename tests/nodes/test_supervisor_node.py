"""sim, perception and supervisor as processes over DDS; this process is the policy, the operator and, once, a rogue."""

import signal
import subprocess
import sys
import time
from types import MappingProxyType

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from tmrl_msgs.srv import LabelEpisode
from tmrl_ros import fr3
from tmrl_ros.nodes import convert, topics
from tmrl_ros.types import ActionChunk, Mode, Modulation, SessionState

PATIENCE_S = 40.0
REAL_TIME = {"timing.real_time": True, "timing.lockstep": False, "timing.command_hz": 50}
FAST = {"task.reset_s": 0.5, "task.episode_s": 1.0, "timing.lockstep_timeout_s": 2.0}


def forward(request) -> ActionChunk:
    rows = np.tile(np.array([0.3, 0, 0, -1], np.float32), (16, 1))
    modulation = Modulation(np.zeros(4, np.float32), 0.2)
    return ActionChunk(request.stamp_ns, request.episode, request.decision, 0.1, rows, modulation, 7)


class Outside(Node):
    """Answers decision requests with `policy` and hears what the supervisor says."""

    def __init__(self, context):
        super().__init__("outside", context=context)
        self.policy, self.requests = forward, []
        self.statuses, self.events, self.decisions, self.windows = [], [], [], []
        self.chunks = topics.ACTION_CHUNK.lossless(True).publisher(self)
        topics.DECISION_REQUEST.lossless(True).subscribe(self, self._on_request)
        for topic, heard in (
            (topics.SESSION_STATUS, self.statuses),
            (topics.EPISODE_EVENT, self.events),
            (topics.DECISION, self.decisions),
            (topics.TRAJECTORY, self.windows),
        ):
            topic.subscribe(self, lambda message, heard=heard: heard.append(convert.from_msg(message)))
        self.spinner = rclpy.executors.SingleThreadedExecutor(context=context)
        self.spinner.add_node(self)

    def _on_request(self, message):
        self.requests.append(convert.from_msg(message))
        chunk = self.policy(self.requests[-1])
        if chunk:
            self.chunks.publish(convert.to_msg(chunk))

    @property
    def status(self):
        return self.statuses[-1] if self.statuses else None

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, self.status
            self.spinner.spin_once(timeout_sec=0.05)

    def until_held(self, words):
        self.until(lambda: self.status and self.status.mode == Mode.HOLD and words in self.status.reason)

    def call(self, name, kind=Trigger, **request):
        client = self.create_client(kind, name)
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(kind.Request(**request))
        self.until(future.done)
        return future.result()

    def resume(self):
        """As a person would: again while the arm still brakes."""
        self.until(lambda: self.call("resume").success)
        self.until(lambda: self.status.mode == Mode.POLICY)


@pytest.fixture
def session(ros_context):
    """start(timing of all, **of the supervisor) -> (Outside, supervisor's process); everything ends with the test."""
    processes, outside = [], []

    def start(timing=MappingProxyType({}), **parameters):
        outside.append(Outside(ros_context))
        supervising = {"mode": "evaluate", "autostart": True, "needs": "sim perception", **FAST, **parameters}
        for name, values in {"sim": FAST, "perception": {}, "supervisor": supervising}.items():
            options = [part for key, value in (values | timing).items() for part in ("-p", f"{key}:={value}")]
            command = [sys.executable, "-m", "tmrl_ros.nodes", name, "--ros-args", *options]
            processes.append(subprocess.Popen(command))
        return outside[0], processes[-1]

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        process.wait(10)
    for node in outside:
        node.destroy_node()


def test_a_session_runs_to_its_end_and_the_process_ends_with_it(session):
    outside, supervisor = session(episodes=2)
    outside.until(lambda: outside.status and outside.status.state == SessionState.ENDED)
    outside.until(lambda: len(outside.events) == 4 and len(outside.decisions) == 4)
    assert supervisor.wait(10) == 0
    assert outside.status.reason == "2 episodes are done" and outside.status.holds == 0
    assert [event.kind for event in outside.events] == ["started", "ended"] * 2
    assert [len(d.actions) for d in outside.decisions] == [8, 2, 8, 2]
    assert outside.decisions[0].actor_version == 7 and outside.decisions[-1].truncated
    stamps = [window.stamp_ns for window in outside.windows]
    np.testing.assert_array_equal(np.diff(stamps), 50_000_000)
    assert all(not window.dq[-1].any() for window in outside.windows)


def test_bad_chunks_and_silence_hold_until_the_operator_resumes(session):
    outside, supervisor = session(episodes=100000)
    outside.until(lambda: outside.decisions)

    bad = np.full((16, 4), np.nan, np.float32)
    outside.policy = lambda request: ActionChunk(
        request.stamp_ns, request.episode, request.decision, 0.1, bad, Modulation(np.zeros(4, np.float32)), 0
    )
    outside.until_held("nan in row 0")
    outside.policy = forward
    outside.resume()

    outside.policy = lambda request: None
    outside.until_held("action_chunk is silent")
    outside.policy = forward
    outside.resume()

    rogue = topics.TRAJECTORY.publisher(outside)
    outside.until_held("another node publishes")
    outside.destroy_publisher(rogue)

    ended = next(event for event in outside.events if event.kind == "ended")
    assert outside.call("label_episode", LabelEpisode, episode=ended.episode, success=True).ok
    outside.until(lambda: outside.events[-1].kind == "labelled" and outside.events[-1].success)
    refused = outside.call("label_episode", LabelEpisode, episode=99, success=True)
    assert not refused.ok and "episode 99 cannot be labelled" in refused.message

    assert outside.call("end_session").success
    assert supervisor.wait(10) == 0
    assert outside.status.state == SessionState.ENDED or outside.status.holds == 3


def test_a_session_that_does_not_start_itself_waits_for_the_operator(session):
    outside, supervisor = session(autostart=False, episodes=1000)  # more than the calls below take
    outside.until(lambda: len(outside.windows) > 5)
    assert all(not window.dq.any() for window in outside.windows)
    np.testing.assert_allclose(outside.windows[-1].q[0], fr3.HOME_Q, atol=1e-3)
    assert outside.call("start_session").success
    assert "it starts once" in outside.call("start_session").message
    assert outside.call("end_session").success
    outside.until(lambda: outside.status.state == SessionState.ENDED)
    assert supervisor.wait(10) == 0


def test_a_source_that_is_silent_before_the_start_does_not_end_the_process(session):
    """A state every 20 ms is too seldom here: it is silent before the start, and after it once more."""
    outside, supervisor = session(REAL_TIME, **{"limits.state_timeout_s": 0.001})
    outside.until(lambda: outside.status and outside.status.state == SessionState.RUNNING)
    assert supervisor.poll() is None


def test_a_supervisor_that_stood_still_commands_nothing_for_the_meantime(session):
    """The arm ran out its last window: one for a moment of the pause would make it leap."""
    patient = {"limits.state_timeout_s": 1.0, "limits.command_timeout_s": 1.0}
    outside, supervisor = session(REAL_TIME, episodes=1000, **patient)
    states = []
    topics.JOINT_STATES.subscribe(outside, lambda message: states.append(convert.stamp_of(message)))
    outside.until(lambda: outside.status and outside.status.mode == Mode.POLICY and states)
    supervisor.send_signal(signal.SIGSTOP)
    stopped_ns = states[-1]
    outside.until(lambda: states[-1] - stopped_ns > 500_000_000)
    begin_ns, end_ns, seen = outside.windows[-1].stamp_ns, states[-1], len(outside.windows)
    assert end_ns - begin_ns > 200_000_000
    supervisor.send_signal(signal.SIGCONT)
    outside.until(lambda: outside.windows[-1].stamp_ns > end_ns)
    stamps = [window.stamp_ns for window in outside.windows[seen:]]
    assert not [stamp for stamp in stamps if begin_ns + 40_000_000 < stamp < end_ns - 60_000_000]


def test_an_emergency_stop_before_the_start_takes_a_person_to_resume(session):
    outside, supervisor = session(episodes=1, needs="sim perception late")
    button = topics.E_STOP.publisher(outside)

    def is_heard():
        button.publish(Bool(data=True))
        return outside.status and outside.status.mode == Mode.FAULT

    outside.until(is_heard)
    late = Node("late", context=outside.context)  # all that the session still lacks
    topics.JOINT_STATES.subscribe(late, lambda message: None)
    waits_until_s = time.monotonic() + 2.0
    outside.until(lambda: time.monotonic() > waits_until_s)
    assert supervisor.poll() is None and outside.status.state == SessionState.WAITING
    outside.until(lambda: not button.publish(Bool(data=False)) and outside.call("resume").success)
    outside.until(lambda: outside.status.state == SessionState.ENDED)
    assert supervisor.wait(10) == 0
    late.destroy_node()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("limits.tcp_sped_m_s:=0.1", "did you mean tcp_speed_m_s?"),
        ("limits.tcp_speed_m_s:=5.0", "limits.tcp_speed_m_s = 5.0"),
        ("mode:=dance", "mode = 'dance'"),
    ],
)
def test_a_bad_parameter_is_one_sentence_and_status_2(option, sentence):
    command = [sys.executable, "-m", "tmrl_ros.nodes", "supervisor", "--ros-args", "-p", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
