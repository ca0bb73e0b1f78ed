"""Every fault of a camera stream is detected by its own name, counted, and in time; good streams raise none."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.config import StreamLimits
from tmrl_ros.perception.faults import Fault, Frame, StreamMonitor

SIZE, PERIOD_S, START_S = (24, 32), 1 / 30, 100.0
IMAGES = np.random.default_rng(0).integers(500, 1500, (200, *SIZE)).astype(np.uint16)


def ns(seconds):
    return round(seconds * 1e9)


def frame(k, stamp_s=None, image=None, encoding="16UC1", calibration="a1"):
    stamp_s = START_S + k * PERIOD_S if stamp_s is None else stamp_s
    return Frame(ns(stamp_s), encoding, IMAGES[k] if image is None else image, calibration)


class Stream:
    """A monitor fed at 30 Hz, each frame arriving 10 ms after its stamp; `bad` maps index to a frame or None (lost)."""

    def __init__(self, **limits):
        self.monitor = StreamMonitor("front", StreamLimits(**limits), SIZE, "a1", START_S)
        self.verdicts = {}

    def run(self, frames, bad=None):
        for k in frames:
            now_s = START_S + k * PERIOD_S + 0.01
            sent = (bad or {}).get(k, frame(k))
            verdict = self.monitor.check(sent, ns(now_s), now_s) if sent else self.monitor.overdue(now_s)
            self.verdicts[k] = verdict
        return self

    def held_after_s(self, onset):
        """From the due time of frame `onset` to the arrival of the verdict that holds."""
        first = min(k for k, verdict in self.verdicts.items() if verdict.hold)
        assert first >= onset, "held before anything was wrong"
        return (first - onset) * PERIOD_S + 0.01


MUTATIONS = {  # fault: (a bad frame in place of frame k, deadline to the hold in s as in the safety document)
    Fault.ENCODING: (lambda k: frame(k, encoding="rgb8"), 0.2),
    Fault.SIZE: (lambda k: frame(k, image=IMAGES[k][:12]), 0.2),
    Fault.CALIBRATION: (lambda k: frame(k, calibration="b2"), 0.2),
    Fault.FUTURE: (lambda k: frame(k, START_S + k * PERIOD_S + 0.07), 0.2),
    Fault.STALE: (lambda k: frame(k, START_S + k * PERIOD_S - 0.25), 0.2),
    Fault.OUT_OF_ORDER: (lambda k: frame(k, START_S + (k - 5.5) * PERIOD_S), 0.2),
    Fault.EMPTY: (lambda k: frame(k, image=np.zeros(SIZE, np.uint16)), 0.2),
    Fault.NAN: (lambda k: frame(k, image=np.full(SIZE, np.nan, np.float32)), 0.2),
    Fault.FROZEN: (lambda k: frame(k, image=IMAGES[9]), 0.3),
    Fault.SILENT: (lambda k: None, 0.25),
}


def test_a_good_stream_has_no_fault_and_no_hold():
    stream = Stream().run(range(100))
    assert not stream.monitor.counts
    assert all(verdict.usable and not verdict.hold for verdict in stream.verdicts.values())


@pytest.mark.parametrize("onset", range(10, 30))  # 20 injections each
@pytest.mark.parametrize("fault", MUTATIONS)
def test_fault_is_named_alone_and_held_within_its_deadline(fault, onset):
    make, deadline_s = MUTATIONS[fault]
    stream = Stream().run(range(onset + 10), {k: make(k) for k in range(onset, onset + 10)})
    assert set(stream.monitor.counts) == {fault}
    assert stream.held_after_s(onset) <= deadline_s + 1e-9


@pytest.mark.parametrize("fault", set(MUTATIONS) - {Fault.FROZEN, Fault.SILENT, Fault.CALIBRATION})
def test_one_bad_frame_is_refused_without_a_hold_and_the_next_is_good(fault):
    stream = Stream().run(range(20), {12: MUTATIONS[fault][0](12)})
    assert list(stream.verdicts[12].reasons) == [fault] and "front: " in stream.verdicts[12].reasons[fault]
    assert not any(verdict.hold for verdict in stream.verdicts.values())
    assert all(verdict.usable for k, verdict in stream.verdicts.items() if k != 12)
    assert stream.monitor.counts[fault] == 1


def test_every_fault_has_a_test():
    assert set(MUTATIONS) | {Fault.DROPPED} == set(Fault)


@given(st.lists(st.booleans(), min_size=3, max_size=100).map(lambda lost: [False, *lost, False]))
@settings(max_examples=50)
def test_dropped_frames_are_counted_exactly_and_the_others_stay_usable(lost):
    stream = Stream(age_s=1.0, silence_s=5.0)
    came = [k for k, gone in enumerate(lost) if not gone]
    stream.run(came)
    assert stream.monitor.counts == Counter({Fault.DROPPED: sum(lost)} if any(lost) else {})
    assert all(verdict.usable for verdict in stream.verdicts.values())


@given(st.lists(st.sampled_from([None, *sorted(set(MUTATIONS) - {Fault.FROZEN, Fault.SILENT})]), max_size=60))
@settings(max_examples=50)
def test_any_mixture_is_counted_fault_by_fault_and_never_spoils_good_frames(kinds):
    """A wild stamp, image or id must leave nothing behind that the next good frame is judged by."""
    stream = Stream(frozen_frames=0)
    stream.run([0])
    bad = {k: MUTATIONS[kind][0](k) for k, kind in enumerate(kinds, 1) if kind and kind != Fault.OUT_OF_ORDER}
    stream.run(range(1, len(kinds) + 1), bad)
    wanted = Counter(kind for kind in kinds if kind and kind != Fault.OUT_OF_ORDER)
    del stream.monitor.counts[Fault.DROPPED]  # refused frames leave gaps
    assert stream.monitor.counts == wanted
    assert all(stream.verdicts[k].usable == (k not in bad) for k in stream.verdicts)


def test_a_buffer_that_the_driver_uses_again_is_not_frozen():
    stream, buffer = Stream(), np.empty(SIZE, np.uint16)
    for k in range(20):
        buffer[:] = IMAGES[k]
        stream.run([k], {k: frame(k, image=buffer)})
    assert not stream.monitor.counts


def test_a_noiseless_camera_may_repeat_itself_when_told_so():
    stream = Stream(frozen_frames=0).run(range(30), {k: frame(k, image=IMAGES[0]) for k in range(30)})
    assert not stream.monitor.counts


def test_bad_frames_are_no_sign_of_life():
    stream = Stream(bad_before_hold=100)
    stream.run(range(20), {k: frame(k, encoding="rgb8") for k in range(10, 20)})
    assert 0.15 < stream.held_after_s(10) <= 0.25


def test_thirty_percent_lost_is_counted_and_holds_only_when_too_old():
    rng = np.random.default_rng(3)
    lost = [k for k in range(1, 100) if rng.random() < 0.3]
    stream = Stream().run(range(101), {k: None for k in lost})
    assert stream.monitor.counts[Fault.DROPPED] == len(lost)
    longest = max(len(run) for run in "".join("x" if k in lost else " " for k in range(101)).split())
    held = any(verdict.hold for verdict in stream.verdicts.values())
    assert held == (longest * PERIOD_S > 0.2)
