"""One operator acts, the others watch."""

import pytest

from tmrl_ros.errors import TmrlError
from tmrl_ros.supervisor.lease import Lease


def test_while_nobody_is_heard_anybody_may_act():
    lease = Lease()
    lease.check("")
    lease.check("anna")
    lease.hear("", 0)
    lease.check("ben")


def test_the_first_that_is_heard_acts_and_the_others_are_told_who_does():
    lease = Lease()
    lease.hear("anna", 0)
    lease.hear("ben", 0.1)
    lease.check("anna")
    with pytest.raises(TmrlError, match="'anna' operates this session and 'ben' may only watch"):
        lease.check("ben")
    with pytest.raises(TmrlError, match="a caller without a name may only watch"):
        lease.check("")


def test_the_lease_is_kept_by_being_heard_and_free_after_silence():
    lease = Lease()
    lease.hear("anna", 0)
    assert lease.lost(1.9) == ""
    lease.hear("anna", 1.9)
    lease.hear("ben", 3.7)
    assert lease.lost(3.8) == ""
    assert lease.lost(3.9) == "anna" and lease.lost(3.9) == ""
    lease.hear("ben", 4.0)
    with pytest.raises(TmrlError, match="'ben' operates"):
        lease.check("anna")


def test_only_the_holder_lets_go():
    lease = Lease()
    lease.hear("anna", 0)
    with pytest.raises(TmrlError):
        lease.release("ben", 1)
    lease.release("anna", 1)
    assert not lease.holder and lease.lost(10) == ""
    lease.check("ben")


def test_a_session_is_unattended_from_the_start_after_a_loss_and_a_moment_after_one_let_go():
    lease = Lease()
    assert lease.unattended(0)
    lease.hear("anna", 0)
    assert not lease.unattended(1.9)
    assert lease.lost(2.0) == "anna" and lease.unattended(2.0)
    lease.hear("anna", 3)
    lease.release("anna", 3)
    assert not lease.unattended(4.8) and lease.unattended(5.0)
    lease.hear("ben", 5)
    assert not lease.unattended(5)
