"""Faults of a camera in a session of real processes hold the arm for the right reason."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import faults
from rig import PATIENT, Running


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("cameras"), PATIENT, camera=True) as rig:
        yield rig


@pytest.mark.parametrize("number", [7, 9, 10, 12, 106, 108, 118, 121])
def test_a_fault_of_a_camera_is_safe_and_said(rig, number):
    (fault,) = (fault for fault in faults.FAULTS if fault.number == number)
    outcome = faults.injected(rig, fault, injection=0)
    assert outcome["safe"] and outcome["right"]
