"""A person's device over DDS, while the policy of a real session acts."""

import numpy as np
import pytest
from rig import PATIENT, Running

from tmrl_ros.nodes import convert, topics
from tmrl_ros.types import Mode, TeleopCommand

PERIOD_S = 0.1


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("rig"), PATIENT) as rig:
        rig.decisions, rig.arm_ns = [], 0
        topics.DECISION._replace(qos=10).subscribe(rig, lambda m: rig.decisions.append(convert.from_msg(m)))
        topics.JOINT_STATES.subscribe(rig, lambda m: setattr(rig, "arm_ns", convert.stamp_of(m)))
        rig.joy = topics.JOY.publisher(rig)
        rig.until(rig.joy.get_subscription_count)
        yield rig


def hold_device(rig, condition, clutch=True):
    """Wish to move along y, every tenth of a second, until `condition` holds."""

    def told():
        rig.joy.publish(convert.to_msg(TeleopCommand(rig.arm_ns, np.array([0, 0.3, 0]), False, clutch)))
        rig.spin(PERIOD_S)
        return condition()

    rig.until(told)


def test_a_device_that_is_not_held_changes_nothing(rig):
    rig.resume()
    before = len(rig.decisions)
    hold_device(rig, lambda: len(rig.decisions) >= before + 2, clutch=False)
    assert {d.source for d in rig.decisions[before:]} == {Mode.POLICY} and rig.acting


def test_the_person_who_holds_it_has_the_arm_until_they_let_go(rig):
    rig.resume()
    before = len(rig.decisions)
    hold_device(rig, lambda: any(d.source == Mode.TELEOP for d in rig.decisions[before:]))
    assert rig.status.mode == Mode.TELEOP
    (theirs, *_) = [d for d in rig.decisions[before:] if d.source == Mode.TELEOP]
    assert len(theirs.actions) == 8 and (np.abs(theirs.actions[:, 1]) > np.abs(theirs.actions[:, 0])).all()
    hold_device(rig, lambda: rig.acting, clutch=False)
    rig.until(lambda: rig.decisions[-1].source == Mode.POLICY)
    assert not rig.held


def test_a_device_that_is_lost_while_it_has_the_arm_holds(rig):
    rig.resume()
    hold_device(rig, lambda: rig.status.mode == Mode.TELEOP)
    rig.until(lambda: rig.held)
    assert rig.status.reason == "the teleoperation device is silent"
