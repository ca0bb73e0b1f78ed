"""Frames and values of free-running sources are joined by stamp, within a tolerance; what lacked is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.perception.align import Pace, StampAlign

MS = 1_000_000
TOLERANCES = {"pose": 10 * MS, "width": 40 * MS}
KEEP_NS = 300 * MS


def aligner():
    return StampAlign("image", TOLERANCES, KEEP_NS)


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(["image", "pose", "width"]), max_size=60))
@settings(max_examples=100)
def test_every_set_is_within_its_tolerances_and_the_nearest_that_had_come(random, names):
    join, came = aligner(), {"image": [], "pose": [], "width": []}
    for k, name in enumerate(names):
        stamp_ns = k * 7 * MS + random.randrange(20 * MS)
        came[name].append(stamp_ns)
        joined = join.add(name, stamp_ns, stamp_ns)
        if joined:
            image_ns, values = joined
            assert values.pop("image") == image_ns and image_ns in came["image"]
            for other, value_ns in values.items():
                nearest = min(abs(stamp - image_ns) for stamp in came[other])
                assert abs(value_ns - image_ns) == nearest <= TOLERANCES[other]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_each_image_is_joined_once_or_told_to_lack_something(seed):
    rng, join, joined, told = np.random.default_rng(seed), aligner(), [], 0
    images = range(0, 3_000 * MS, 100 * MS)
    events = [(stamp, "image") for stamp in images]
    for name, period_ms in (("pose", 9), ("width", 60)):
        kept = rng.random(3_300 // period_ms) > 0.2
        events += [(k * period_ms * MS, name) for k in np.flatnonzero(kept)]
    for stamp, name in sorted((int(stamp), name) for stamp, name in events):
        found = join.add(name, stamp, None)
        joined += [found[0]] if found else []
        told += len(join.lacking())
    assert joined == sorted(set(joined)) and set(joined) <= set(images)
    assert len(images) - KEEP_NS // (100 * MS) - 1 <= len(joined) + told <= len(images)


def test_what_an_image_lacked_is_named_with_its_distance():
    join = aligner()
    join.add("pose", 0, None)
    for k in range(1, 7):
        assert join.add("image", k * 100 * MS, None) is None
    first, second = join.lacking()
    assert first == {"pose": pytest.approx(0.1), "width": None} and second["pose"] == pytest.approx(0.2)
    assert join.lacking() == []


def test_a_slow_source_serves_several_images_and_duplicates_change_nothing():
    join = aligner()
    join.add("width", 100 * MS, "w")
    join.add("pose", 100 * MS, "p")
    assert join.add("image", 100 * MS, "i") == (100 * MS, {"image": "i", "pose": "p", "width": "w"})
    assert join.add("image", 100 * MS, "again") is None
    join.add("pose", 130 * MS, "q")
    assert join.add("image", 130 * MS, "j") == (130 * MS, {"image": "j", "pose": "q", "width": "w"})
    assert join.add("image", 120 * MS, "late") is None and not join.lacking()


def test_memory_is_bounded_by_time_whatever_is_silent():
    join = aligner()
    for k in range(5_000):
        join.add("pose", k * MS, None)
        if k % 100 == 0:
            join.add("image", k * MS, None)
        join.lacking()
    assert max(len(values) for values in join._values.values()) <= KEEP_NS // MS + 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_a_jittering_camera_is_thinned_to_the_rate(seed):
    jitter_ns = np.random.default_rng(seed).integers(-5 * MS, 5 * MS, 300)
    stamps = [k * 1_000_000_000 // 30 + int(jitter_ns[k]) for k in range(300)]
    pace = Pace(10)
    kept = [stamp for stamp in stamps if taken(pace, stamp)]
    assert len(kept) in (99, 100, 101)
    assert np.diff(kept).min() > 60 * MS and np.diff(kept).max() < 140 * MS


def taken(pace, stamp_ns) -> bool:
    """Takes the stamp where it is due."""
    if due := pace.due(stamp_ns):
        pace.took(stamp_ns)
    return due


def test_after_a_gap_the_pace_makes_up_for_nothing():
    pace = Pace(10)
    assert [taken(pace, stamp * MS) for stamp in (0, 100, 730, 760, 800, 830)] == [True, True, True, False, True, False]


def test_what_was_of_no_use_leaves_the_next_stamp_due():
    pace = Pace(10)
    pace.took(0)
    assert [pace.due(stamp * MS) for stamp in (66, 100, 133)] == [False, True, True]
