import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.learner.replay import FIELDS, Replay


def row(tag: float) -> dict:
    vector = np.full(2, tag, np.float32)
    return {
        "features": vector,
        "action": vector[:1],
        "reward": np.float32(tag),
        "next_features": vector + 0.5,
        "bootstrap": np.float32(1),
    }


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(3, 9))
def test_rows_stay_whole_when_the_ring_wraps(lengths, capacity):
    replay, tag = Replay(capacity, 2, 1), 0
    for episode, length in enumerate(lengths):
        for k in range(length):
            replay.add(episode, success=episode % 2 == 1 and k == length - 1, **row(tag))
            tag += 1
    batch = replay.sample(np.random.default_rng(0), 64, 0.5)
    assert (batch["next_features"] == batch["features"] + 0.5).all()
    assert (batch["reward"] == batch["features"][:, 0]).all()
    assert batch["reward"].min() >= tag - capacity
    owners = np.repeat(np.arange(len(lengths)), lengths)[-len(replay) :]
    assert sorted(replay.episode[: len(replay)]) == sorted(owners)
    assert (replay.successful[: len(replay)] == (replay.episode[: len(replay)] % 2 == 1)).all()


def test_half_of_a_batch_comes_from_successes_however_rare():
    replay = Replay(1000, 2, 1)
    for episode in range(100):
        replay.add(episode, success=episode == 7, **row(episode))
    rewards = replay.sample(np.random.default_rng(0), 200, 0.5)["reward"]
    assert 100 <= (rewards == 7).sum() <= 115


@pytest.mark.parametrize("lengths", [[3], [3, 2], [4, 3, 2], [3, 9]])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("verdict", [False, True])
def test_a_verdict_that_comes_later_leaves_what_one_at_the_end_would_have(lengths, before, verdict):
    """Also where the ring has wrapped, so that the last row lies before the others, or all are overwritten."""
    late, timely = Replay(8, 2, 1), Replay(8, 2, 1)
    for episode, length in enumerate(lengths):
        for k in range(length):
            for replay, success in ((late, before), (timely, verdict)):
                end = k == length - 1
                won = end and (success if episode == 0 else episode == 1)
                reward, bootstrap = np.float32(won - 1), np.float32(not won)
                replay.add(episode, won, **{**row(k), "reward": reward, "bootstrap": bootstrap})
    assert late.label(0, verdict) == (0 in timely.episode)
    for name, values in timely.state().items():
        np.testing.assert_array_equal(late.state()[name], values, err_msg=name)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name_and_nothing_is_stored(name, value):
    replay = Replay(4, 2, 1)
    with pytest.raises(ValueError, match=name):
        replay.add(0, False, **{**row(0), name: np.full_like(row(0)[name], value)})
    assert len(replay) == 0
