"""Values are joined by acquisition time, exactly or within a tolerance."""

from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.perception.join import StampJoin

NAMES = ("objects", "pose", "width")


@given(st.permutations([(name, stamp) for stamp in (10, 20, 30) for name in NAMES]))
def test_every_complete_stamp_comes_once_with_its_own_values(arrivals):
    join, sets = StampJoin(NAMES), []
    for name, stamp in arrivals:
        joined = join.add(name, stamp, (name, stamp))
        if joined:
            sets.append(joined)
    for stamp, values in sets:
        assert values == {name: (name, stamp) for name in NAMES}
    stamps = [stamp for stamp, _ in sets]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == 30


def test_in_order_arrivals_lose_nothing():
    join = StampJoin(NAMES)
    sets = [join.add(name, stamp, None) for stamp in range(1, 6) for name in NAMES]
    assert [s[0] for s in sets if s] == [1, 2, 3, 4, 5]


def test_duplicates_and_late_values_change_nothing():
    join = StampJoin(NAMES)
    for name in NAMES:
        join.add(name, 10, name)
    assert [join.add(name, stamp, "late") for stamp in (10, 5) for name in NAMES] == [None] * 6


def test_exact_join_refuses_a_neighbour():
    join = StampJoin(("objects", "pose"))
    join.add("pose", 11, None)
    assert join.add("objects", 10, None) is None


def test_partner_is_missing_once_several_stamps_wait_for_it():
    join, missing = StampJoin(NAMES), []
    for stamp in range(5):
        join.add("objects", stamp, None)
        join.add("width", stamp, None)
        missing.append(join.missing())
    assert missing == [[], [], [], ["pose"], ["pose"]]


def test_tolerance_takes_the_nearest_and_a_slow_partner_serves_twice():
    join = StampJoin(("objects", "pose"), tolerance_ns=8)
    for stamp in (0, 6, 14):
        join.add("pose", stamp, stamp)
    assert join.add("objects", 8, None) == (8, {"objects": None, "pose": 6})
    assert join.add("objects", 9, None) == (9, {"objects": None, "pose": 6})
    assert join.add("objects", 9, None) is None
    assert join.add("objects", 30, None) is None


def test_silent_partner_does_not_fill_the_memory():
    join = StampJoin(("objects", "pose"))
    for stamp in range(10_000):
        join.add("objects", stamp, None)
    assert sum(len(values) for values in join._values.values()) <= StampJoin.DEPTH
