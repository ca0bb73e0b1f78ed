"""Faults in a session of real processes hold the arm for the right reason; benchmarks/faults.py measures how soon."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import faults
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rig import PATIENT, Running

from tmrl_ros.nodes import topics


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("rig"), PATIENT, robot=True) as rig:
        yield rig


@pytest.mark.parametrize("number", [32, 34])
def test_an_operator_who_goes_or_is_one_too_many_is_safe_and_said(tmp_path, number):
    (fault,) = (fault for fault in faults.FAULTS if fault.number == number)
    with Running(tmp_path, PATIENT, attended=True) as rig:
        outcome = faults.injected(rig, fault, injection=0)
    assert outcome["safe"] and outcome["right"]


@pytest.mark.parametrize("number", [2, 6, 15, 16, 19, 21, 23, 26, 27, 28, 29, 30, 31, 33, 40])
def test_a_fault_is_safe_and_said(rig, number):
    (fault,) = (fault for fault in faults.FAULTS if fault.number == number)
    outcome = faults.injected(rig, fault, injection=0)
    assert outcome["safe"] and outcome["right"]


def test_what_perception_says_of_a_stream_is_why_it_holds(rig):
    rig.resume()
    here, error = {"hardware_id": "/perception"}, DiagnosticStatus.ERROR
    says = DiagnosticStatus(name="perception: observation", level=error, message="front is frozen", **here)
    other = DiagnosticStatus(name="realsense: front", level=error, message="not this one", **here)
    there = DiagnosticStatus(name=says.name, level=error, message="another robot's", hardware_id="/left/perception")
    publisher = topics.DIAGNOSTICS.publisher(rig)
    rig.until(publisher.get_subscription_count)
    publisher.publish(DiagnosticArray(status=[other, there, says]))
    rig.until(lambda: rig.held)
    assert rig.status.reason == "front is frozen"
