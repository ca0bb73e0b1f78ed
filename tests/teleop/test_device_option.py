"""`device:=` of a collect session: what it starts, and with which parameters."""

import os
import pty

import pytest

from tmrl_ros.errors import ConfigError
from tmrl_ros.session.graph import SessionOptions, build


def by_name(**options):
    return {spec.name: spec.parameters for spec in build("collect", SessionOptions(**options))}


def test_a_script_teleoperates_a_simulation_in_lockstep_by_default():
    nodes = by_name()
    assert nodes["teleop"]["device"] == "script"
    assert not nodes["sim"]["timing"]["real_time"]


def test_a_person_teleoperates_a_simulation_in_real_time():
    nodes = by_name(device="spacenav")
    assert nodes["teleop"]["device"] == "spacenav"
    assert {parameters["timing"]["real_time"] for parameters in nodes.values()} == {True}


def test_a_driver_of_our_layout_needs_no_node_of_ours():
    assert "teleop" not in by_name(sim=False)
    assert "teleop" not in by_name(device="joy")
    assert by_name(sim=False, device="gamepad")["teleop"]["device"] == "gamepad"


def test_a_gello_moves_the_arm_by_the_steps_that_the_supervisor_allows(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("/**/supervisor: {ros__parameters: {limits.step_m: 0.02}}\n")
    nodes = by_name(device="gello", params_file=str(file))
    assert nodes["teleop"]["device"] == "gello" and nodes["teleop"]["gello"]["step_m"] == 0.02


def test_the_keyboard_is_that_of_the_terminal_the_session_starts_in(monkeypatch):
    person, end = pty.openpty()
    monkeypatch.setattr(os, "ttyname", lambda file, ttyname=os.ttyname: ttyname(end if file == 0 else file))
    assert by_name(device="keyboard")["teleop"]["terminal"] == os.ttyname(end)
    os.close(person)
    os.close(end)


def test_the_keyboard_needs_a_terminal(monkeypatch):
    def none(file):
        raise OSError("Inappropriate ioctl for device")

    monkeypatch.setattr(os, "ttyname", none)
    with pytest.raises(ConfigError, match="needs a terminal"):
        by_name(device="keyboard")
