import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.config import Shift, Task, Timing
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.learner.frames import OVERHEAD_BYTES, Frames, compress, decompress
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.types import Observation

SHAPES = {"state": (2,), "cloud": (7, 3), "front": (6, 8, 3)}
FRAME_BYTES = OVERHEAD_BYTES + (8 + 84 + 144) + 3 * 64  # at most
MANY = 1_000_000


def seen(episode: int, at: int) -> Observation:
    """The observation `at` of an episode; its stamp does not tell the episode, its content does."""
    rng = np.random.default_rng([episode, at])
    images = {"front": rng.integers(0, 256, SHAPES["front"]).astype(np.uint8)}
    return Observation(at, np.float32([episode, at]), images, rng.normal(size=SHAPES["cloud"]).astype(np.float32))


def fill(frames: Frames, lengths: list[int], gap: set[int] = frozenset()) -> dict[int, tuple[int, int]]:
    """Add episodes of so many decisions, without those in `gap`; decision -> (episode, place) of all that are added."""
    places, decision = {}, 0
    for episode, length in enumerate(lengths):
        for at in range(length):
            if decision not in gap:
                frames.add(episode, decision, seen(episode, at), seen(episode, at + 1))
                places[decision] = episode, at
            decision += 1
    return places


def agree(inputs, observation) -> bool:
    wanted = {"state": observation.state, "cloud": observation.cloud, **observation.images}
    return all(
        np.array_equal(inputs[name], wanted[name]) and inputs[name].dtype == wanted[name].dtype for name in SHAPES
    )


few = settings(max_examples=40)
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=8)
capacities = st.integers(2, 12).map(lambda n: n * FRAME_BYTES)


@few
@given(lengths, capacities, st.sets(st.integers(0, 20)))
def test_a_decision_has_both_of_its_observations_or_is_gone(lengths, capacity, gap):
    frames = Frames(SHAPES, capacity)
    places = fill(frames, lengths, gap)
    kept = list(frames)
    assert kept == list(places)[len(places) - len(kept) :] and (kept or not places), "only the oldest go"
    for decision in kept:
        episode, at = places[decision]
        before, after = frames.get(decision)
        assert agree(before, seen(episode, at)) and agree(after, seen(episode, at + 1))
    for gone in set(places) - set(kept):
        assert gone not in frames
        with pytest.raises(KeyError):
            frames.get(gone)


@few
@given(lengths, capacities)
def test_bytes_stay_within_the_capacity_at_every_moment(lengths, capacity):
    frames, decision = Frames(SHAPES, capacity), 0
    for episode, length in enumerate(lengths):
        for at in range(length):
            frames.add(episode, decision, seen(episode, at), seen(episode, at + 1))
            decision += 1
            held = frames.state()
            assert frames.bytes == held["packed"].size + OVERHEAD_BYTES * len(held["frames"]) <= capacity
            used = set(held["pairs"][:, 1:].ravel().tolist())
            assert len(used) == len(held["frames"]), "every frame belongs to a decision"


@given(lengths)
def test_an_observation_is_stored_once_and_never_shared_between_episodes(lengths):
    frames = Frames(SHAPES, MANY)
    fill(frames, lengths)
    assert len(frames.state()["frames"]) == sum(lengths) + len(lengths)


def test_an_episode_that_begins_at_the_stamp_where_another_ended_shares_nothing():
    frames = Frames(SHAPES, MANY)
    frames.add(0, 0, seen(0, 0), seen(0, 1))
    frames.add(1, 1, seen(1, 1), seen(1, 2))
    assert agree(frames.get(0)[1], seen(0, 1)) and agree(frames.get(1)[0], seen(1, 1))


@few
@given(lengths, lengths, capacities)
def test_a_restored_ring_goes_on_as_the_uninterrupted_one(first, later, capacity):
    whole, again = Frames(SHAPES, capacity), Frames(SHAPES, capacity)
    places = fill(whole, first)
    again.restore({name: value.copy() for name, value in whole.state().items()})
    last = max(places)
    for k, length in enumerate(later):
        for at in range(length):
            last += 1
            for frames in (whole, again):  # the first of them goes on with the last episode
                start = (len(first) - 1, first[-1]) if k == 0 else (len(first) + k, 0)
                frames.add(start[0], last, seen(start[0], start[1] + at), seen(start[0], start[1] + at + 1))
    for name, value in whole.state().items():
        np.testing.assert_array_equal(again.state()[name], value)
    samples = [frames.sample(np.random.default_rng(0), 5) for frames in (whole, again)]
    np.testing.assert_array_equal(samples[0][0], samples[1][0])


def test_a_batch_holds_what_its_decisions_saw():
    frames = Frames(SHAPES, 12 * FRAME_BYTES)
    places = fill(frames, [6, 5, 7])
    assert 5 < len(frames) < 18
    decisions, before, after = frames.sample(np.random.default_rng(0), 200)
    assert set(decisions) == set(frames) and before["front"].shape == (200, 6, 8, 3)
    for k, decision in enumerate(decisions):
        episode, at = places[decision]
        assert agree({n: v[k] for n, v in before.items()}, seen(episode, at))
        assert agree({n: v[k] for n, v in after.items()}, seen(episode, at + 1))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("name", "value"), [("state", np.float32([0, np.nan])), ("cloud", np.full((7, 3), np.inf))])
def test_a_number_that_is_not_finite_never_enters(side, name, value):
    frames, pair = Frames(SHAPES, MANY), [seen(0, 0), seen(0, 1)]
    fields = {"state": pair[side].state, "cloud": pair[side].cloud, "images": pair[side].images} | {name: value}
    pair[side] = Observation(side, **fields)
    with pytest.raises(ValueError, match=f"decision 3 of episode 0: {name} not finite"):
        frames.add(0, 3, *pair)
    assert len(frames) == frames.bytes == 0


def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing():
    frames, (first, second) = Frames(SHAPES, MANY), (seen(0, 0), seen(0, 1))
    with pytest.raises(DataError, match="'front'"):
        frames.add(0, 0, first, Observation(1, second.state, {}, second.cloud))
    with pytest.raises(ValueError, match="order of time"):
        frames.add(0, 0, second, first)
    frames.add(0, 0, first, second)
    with pytest.raises(ValueError, match="already"):
        frames.add(0, 0, first, second)
    with pytest.raises(ConfigError, match="two observations"):
        Frames(SHAPES, FRAME_BYTES)
    assert list(frames) == [0]


@given(st.sampled_from([(1, 1, 3), (5, 9, 3), (3,), (11, 6)]), st.integers(0, 9))
def test_compression_loses_nothing(shape, seed):
    rng = np.random.default_rng(seed)
    array = (
        rng.integers(0, 256, shape).astype(np.uint8) if len(shape) == 3 else rng.normal(size=shape).astype(np.float32)
    )
    assert decompress(compress(array), shape).tobytes() == array.tobytes()


def test_small_observations_are_counted_with_what_python_needs_for_them():
    capacity = 500_000
    tracemalloc.start()
    frames = Frames({"state": (2,)}, capacity)
    fill(frames, [5] * 200)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.2 * capacity < held <= capacity and len(frames) < 1000


@pytest.mark.skipif(os.environ["MUJOCO_GL"] == "disabled", reason="no EGL")
def test_real_memory_stays_within_the_capacity_and_100k_decisions_within_10_gb():
    """Two 128 px cameras with sensor noise, episodes of ten decisions; the ring wraps several times."""
    sim, rng = SimRobot(Task(), Timing(), Shift(), 0), np.random.default_rng(0)
    sim.model.vis.quality.shadowsize = 0
    cameras = {name: sim.render(camera=name, height=128, width=128) for name in ("front", "spectator")}
    pool = [
        {name: (image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8) for name, image in cameras.items()}
        for _ in range(8)
    ]
    capacity = 2_000_000
    frames = Frames({"state": (10,), **{name: (128, 128, 3) for name in cameras}}, capacity)
    tracemalloc.start()
    for decision in range(120):
        at = [Observation(k, np.full(10, k, np.float32), pool[k % len(pool)]) for k in (decision, decision + 1)]
        frames.add(decision // 10, decision, *at)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.5 * capacity < held <= capacity and len(frames) < 60
    assert frames.bytes / len(frames) * 100_000 < 10e9
