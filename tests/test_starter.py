"""Processes are watched, restarted as often as allowed, and all ended; two sessions get different domains."""

import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node

from tmrl_ros.errors import ConfigError
from tmrl_ros.session import domain, graph, starter
from tmrl_ros.session.graph import NodeSpec
from tmrl_ros.session.starter import NodeDied, NodeProcess

SLEEPS = "import time; time.sleep(60)"


class Silence:
    """A monitor that hears nothing."""

    def poll(self):
        return None


class OneStatus:
    """A monitor that hears something once."""

    def __init__(self):
        self.statuses = ["running"]

    def poll(self):
        return self.statuses.pop() if self.statuses else None


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(starter, "POLL_S", 0.01)
    monkeypatch.setattr(starter, "GRACE_S", 0.5)


@pytest.fixture
def launch(tmp_path):
    """Starts name=code processes as nodes; ends what is left."""
    started = []

    def start(restarts=0, autostart=False, **codes):
        for name, code in codes.items():
            parameters = {"autostart": autostart} if name == "supervisor" else {}
            spec = NodeSpec(name, parameters, restarts=restarts if name == "learner" else 0)
            command = [sys.executable, "-S", "-c", code]
            node = NodeProcess(
                spec, command, tmp_path / f"{name}.log", {**os.environ, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
            )
            node.start()
            started.append(node)
        return started

    yield start
    starter.end_all(started)


def watch(nodes, sentences=None, monitor=None):
    said = [] if sentences is None else sentences
    return starter._watch(nodes, monitor or Silence(), lambda status: None, said.append)


def test_the_session_ends_well_with_the_supervisor(launch):
    assert watch(launch(sim=SLEEPS, supervisor="pass")) == 0


def test_a_failed_supervisor_is_told_with_the_end_of_its_log(launch):
    with pytest.raises(NodeDied, match="supervisor ended with status 4; its log ends: no robot"):
        watch(launch(supervisor="print('no robot', flush=True); raise SystemExit(4)"))


def test_a_needed_node_that_dies_ends_the_session(launch):
    nodes = launch(supervisor=SLEEPS, policy="import os; print('out of memory', flush=True); os.kill(os.getpid(), 9)")
    with pytest.raises(NodeDied, match=r"policy ended with status -9; its log .* ends: out of memory"):
        watch(nodes)


def test_a_learner_starts_again_but_not_for_ever(launch):
    said = []
    with pytest.raises(NodeDied, match="learner ended with status 1 after 2 restarts"):
        watch(launch(restarts=2, supervisor=SLEEPS, learner="raise SystemExit(1)"), said)
    assert said == [f"learner ended with status 1 and starts again ({n} of 2)" for n in (1, 2)]


def test_a_session_that_never_starts_is_told_with_the_end_of_the_supervisors_log(launch, monkeypatch):
    monkeypatch.setattr(starter, "START_S", 0.5)
    waits = f"print('waiting for policy', flush=True); {SLEEPS}"
    nodes = launch(autostart=True, supervisor=waits)
    while not nodes[0].log.read_text():
        time.sleep(0.01)
    sentence = r"has not started within 0.5 s; supervisor's log .*supervisor\.log ends: waiting for policy$"
    with pytest.raises(NodeDied, match=sentence):
        watch(nodes)


@pytest.mark.parametrize("monitor", [OneStatus(), Silence()])
def test_a_session_that_was_heard_of_or_that_a_person_starts_may_take_its_time(launch, monkeypatch, monitor):
    monkeypatch.setattr(starter, "START_S", 0.05)
    waits = "import time; time.sleep(0.5)"
    assert watch(launch(autostart=isinstance(monitor, OneStatus), supervisor=waits), monitor=monitor) == 0


def test_all_end_even_those_that_do_not_listen_and_their_children(launch, tmp_path):
    pid_file = tmp_path / "child"
    deaf = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-S', '-c', 'import signal, time; signal.signal(15, 1); time.sleep(60)'])
open({str(pid_file)!r} + '_', 'w').write(str(child.pid))
os.rename({str(pid_file)!r} + '_', {str(pid_file)!r})
time.sleep(60)
"""
    nodes = launch(sim=deaf, policy=SLEEPS)
    while not pid_file.exists():
        time.sleep(0.01)
    starter.end_all(nodes)
    assert [node.ended() for node in nodes] == [-signal.SIGKILL, -signal.SIGTERM]
    child, deadline = int(pid_file.read_text()), time.monotonic() + 2
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid):
    """False for a zombie too: nobody may be there to reap an orphan."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_two_sessions_get_different_domains_and_give_them_back(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    with domain.reserved_domain() as first, domain.reserved_domain() as second:
        assert first != second
        assert {first, second} <= set(domain.DOMAIN_IDS)
        monkeypatch.setattr(domain, "DOMAIN_IDS", [first])
    with domain.reserved_domain() as again:
        assert again == first


def test_a_domain_in_which_anybodys_participant_is_is_not_taken(ros_domain, ros_context, monkeypatch):
    node = Node("theirs", context=ros_context)
    monkeypatch.delenv("ROS_DOMAIN_ID")
    monkeypatch.setattr(domain, "UNUSED", domain.UNUSED - 1)  # without the reservation that the test itself holds
    with domain.reserved_domain() as taken:
        assert taken != ros_domain
    node.destroy_node()


def test_whoever_names_its_run_dir_joins_a_sessions_domain_unless_they_chose_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "")
    domain.join(tmp_path)
    assert not os.environ["ROS_DOMAIN_ID"], "nothing was started there"
    domain.note(tmp_path, 17)
    domain.join(tmp_path)
    assert os.environ["ROS_DOMAIN_ID"] == "17"
    domain.note(tmp_path, 18)
    domain.join(tmp_path)
    assert os.environ["ROS_DOMAIN_ID"] == "17"


def test_a_persons_domain_is_taken(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    with domain.reserved_domain() as domain_id:
        assert domain_id == 42


@pytest.mark.parametrize(("chosen", "there"), [("", 0), ("42", 42)])
def test_a_session_with_a_robot_is_where_the_robots_driver_is(chosen, there, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", chosen)
    with domain.session_domain(robot=True) as first, domain.session_domain(robot=True) as second:
        assert first == second == there


@pytest.mark.parametrize(("sim", "domains"), [(True, domain.DOMAIN_IDS), (False, [0])])
def test_only_a_simulated_session_gets_a_domain_of_its_own(sim, domains, tmp_path, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    ending = {"supervisor": "pass"}
    monkeypatch.setattr(
        starter, "node_command", lambda spec, *_: [sys.executable, "-S", "-c", ending.get(spec.name, SLEEPS)]
    )
    monkeypatch.setattr(starter, "StatusMonitor", lambda *_: SimpleNamespace(poll=Silence().poll, close=lambda: None))
    specs = graph.build("collect", graph.SessionOptions(sim=sim, run_dir=str(tmp_path)))
    assert starter.run_session(specs, tmp_path) == 0
    assert int((tmp_path / domain.NOTE).read_text()) in domains


def test_a_machine_full_of_sessions_is_told_in_a_sentence(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    with domain.reserved_domain() as taken:
        monkeypatch.setattr(domain, "DOMAIN_IDS", [taken])
        with pytest.raises(ConfigError, match="all 1 ROS domains are taken"):
            domain.reserved_domain().__enter__()
