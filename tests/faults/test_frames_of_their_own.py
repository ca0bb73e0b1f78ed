"""Real processes in real time, where frames have stamps of their own: from a frame to the learner's transition."""

import itertools

import pytest
from rig import PATIENT, Running

from tmrl_ros.config import Timing
from tmrl_ros.data.assembler import Assembler
from tmrl_ros.nodes import convert, topics

AGE_NS = 37_000_000  # that a frame is older than the tick it comes at
TIMING = Timing(command_hz=50, real_time=True)


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """(observations, decisions, transitions, why others were not made) of some seconds of a session."""
    with Running(tmp_path_factory.mktemp("frames"), PATIENT) as rig:

        def older(message):
            stamp = message.header.stamp
            stamp.sec, stamp.nanosec = divmod(convert.stamp_of(message) - AGE_NS, 1_000_000_000)
            return [(0.0, message)]

        rig.rules[topics.OBJECTS.name] = older
        rig.spin(1.0)  # until no frame of before is in use
        assembler, observations, decisions, transitions = Assembler(TIMING), [], [], []

        def on_observation(message):
            observations.append(convert.from_msg(message))
            transitions.extend(assembler.observe(observations[-1]))

        def on_decision(message):
            decisions.append(convert.from_msg(message))
            transitions.extend(assembler.decide(decisions[-1]))

        topics.OBSERVATION.subscribe(rig, on_observation)
        # Not latched: decisions of before would come without their observations.
        topics.DECISION._replace(qos=10).subscribe(rig, on_decision)
        rig.until(lambda: len(transitions) >= 4, 30.0)
        assert not rig.held, rig.status
    return observations, decisions, transitions, assembler.dropped


def test_a_policy_acts_on_frames_whose_stamps_no_tick_has(heard):
    observations, decisions, transitions, dropped = heard
    assert {o.stamp_ns % 100_000_000 for o in observations} == {63_000_000}
    assert {d.stamp_ns % 100_000_000 for d in decisions[1:]} == {63_000_000}
    assert [t.decision for t in transitions] == [d.decision for d in decisions][-len(transitions) :]
    assert sum(dropped.values()) <= 1, dropped  # one had begun before this listened


def test_the_next_observation_is_what_the_next_chunk_was_made_from(heard):
    _, _, transitions, _ = heard
    for before, after in itertools.pairwise(transitions):
        assert before.next_observation is after.observation
