from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.config import Versions
from tmrl_ros.policy.versions import ActorVersions


@given(st.integers(1, 8), st.integers(0, 12), st.lists(st.integers(0, 30), max_size=60))
def test_the_version_used_never_depends_on_how_early_updates_arrive(period, lag, early_by):
    """A learner that is ahead by any amount gives the same versions as one that is exactly in time."""
    versions, sent, used = ActorVersions(Versions(period=period, lag=lag)), 0, None
    for decision, early in enumerate(early_by):
        while sent + period <= min(decision, versions.due(decision) + early):
            sent += period
            versions.offer(sent, b"")
        while not versions.ready(decision):
            sent += period
            versions.offer(sent, b"")
        taken = versions.take(decision)
        used = taken[0] if taken else used
        assert (used or 0) == versions.due(decision)


def test_a_late_learner_is_not_ready_and_stale_versions_are_kept_for_use():
    versions = ActorVersions(Versions(period=4, lag=4))
    assert not versions.ready(0)  # the learner may begin with something learned
    versions.offer(0, b"none")
    assert versions.ready(7) and not versions.ready(8)
    versions.offer(4, b"four")
    assert versions.ready(8) and versions.take(8) == (4, b"four") and versions.take(9) is None
