"""Transitions as bytes: what goes in comes out, bit for bit, and nothing else is taken for one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tmrl_ros.data import transition_log
from tmrl_ros.data.append_log import AppendLog
from tmrl_ros.data.assembler import Transition
from tmrl_ros.errors import DataError
from tmrl_ros.session.replay import identical
from tmrl_ros.types import Label, Modulation, Observation

floats = hnp.arrays(np.float32, st.integers(0, 6), elements=st.floats(-1e6, 1e6, width=32))
images = st.dictionaries(st.text(min_size=1, max_size=5), hnp.arrays(np.uint8, (2, 3, 3)), max_size=2)
clouds = st.none() | hnp.arrays(np.float32, (4, 3), elements=st.floats(-2, 2, width=32))
observations = st.builds(Observation, st.integers(0, 2**62), floats, images, clouds)
modulations = st.builds(Modulation, floats, st.floats(0, 1), floats, floats)
flags, counts = st.booleans(), st.integers(0, 2**62)
transitions = st.builds(
    Transition,
    observation=observations, next_observation=observations, modulation=modulations,
    actions=hnp.arrays(np.float32, (2, 3), elements=st.floats(-1, 1, width=32)), executed=st.integers(0, 2),
    reward=st.floats(-10, 10), terminated=flags, truncated=flags, success=flags, episode=counts, decision=counts,
    actor_version=counts, greedy=flags, demo=flags,
    robot_time_s=st.floats(0, 1e6),
)  # fmt: skip


@settings(max_examples=80)
@given(transitions)
def test_a_transition_comes_back_bit_for_bit(transition):
    back = transition_log.decode(transition_log.encode(transition))
    assert identical(back, transition)
    assert list(back.observation.images) == list(transition.observation.images)


def test_arrays_of_any_stride_are_kept():
    seen = Observation(1, np.arange(12, dtype=np.float32)[::2])
    transition = Transition(
        seen, replace(seen, stamp_ns=2), Modulation(np.zeros(3, np.float32)), np.ones((3, 2), np.float32).T, 2,
        -1.0, False, False, False, 0, 0, 0, False, False, 1.5,
    )  # fmt: skip
    back = transition_log.decode(transition_log.encode(transition))
    np.testing.assert_array_equal(back.observation.state, seen.state)
    np.testing.assert_array_equal(back.actions, transition.actions)


@given(counts, flags)
def test_a_label_comes_back(episode, success):
    assert transition_log.decode(transition_log.encode(Label(episode, success))) == Label(episode, success)


@settings(max_examples=5)
@given(transitions)
def test_a_log_gives_its_transitions_and_all_of_it_in_order(tmp_path_factory, transition):
    path, label = tmp_path_factory.mktemp("log") / "transitions.log", Label(3, True)
    with AppendLog(path) as log:
        for record in (transition, label, transition):
            log.append(transition_log.encode(record))
    assert identical(list(transition_log.read(path)), [transition] * 2)
    assert identical(list(transition_log.records(path)), [transition, label, transition])


@pytest.mark.parametrize("data", [b"", b"no transition", bytes(100), (10**9).to_bytes(8, "little") + b"{}"])
def test_other_bytes_are_refused(data):
    with pytest.raises(DataError, match="is no transition"):
        transition_log.decode(data)
