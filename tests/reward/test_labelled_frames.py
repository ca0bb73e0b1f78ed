"""What a person says of an episode becomes labels of its frames, and doubt stays doubt."""

import numpy as np
import pytest
from bright import SETTINGS, TICK_NS, episode, event, frames, image, observation

from tmrl_ros.errors import DataError
from tmrl_ros.reward import frames as made
from tmrl_ros.reward.frames import labels_of

RNG = np.random.default_rng(0)


def recorded(*episodes, count=14):
    """Records of episodes (success, reason, label or None); labels come after the last episode."""
    records, stamp_ns = [], 0
    for number, (success, reason, _) in enumerate(episodes):
        records += [observation(stamp_ns + k * TICK_NS, image(False, RNG)) for k in range(1, 3)]  # of the reset
        stamp_ns += 3 * TICK_NS
        records.append(event(stamp_ns, number, "started"))
        records += [
            observation(stamp_ns + k * TICK_NS, pixels) for k, pixels in enumerate(episode(success, RNG, count))
        ]
        stamp_ns += (count - 1) * TICK_NS
        records.append(event(stamp_ns, number, "ended", success, reason))
    labels = [(number, label) for number, (_, _, label) in enumerate(episodes) if label is not None]
    return records + [event(stamp_ns, number, "labelled", label, episodes[number][1]) for number, label in labels]


def test_the_last_frames_of_a_success_show_it_and_those_before_are_in_doubt():
    assert labels_of(10, True, SETTINGS).tolist() == [0] * 3 + [-1] * 4 + [1] * 3
    assert labels_of(5, True, SETTINGS).tolist() == [-1] * 2 + [1] * 3
    assert labels_of(10, False, SETTINGS).tolist() == [0] * 10


def test_episodes_that_a_person_judged_are_taken_and_no_others():
    records = recorded((True, "time", True), (False, "time", None), (True, "kept", None), (False, "joint 3", None))
    taken = list(made.labelled(records, SETTINGS))
    assert [labels[-1] for _, labels in taken] == [1, 1]
    believed = list(made.labelled(records, SETTINGS, believe=True))
    assert [labels[-1] for _, labels in believed] == [1, 0, 1], "an episode that a hold ended says nothing"


def test_a_label_replaces_what_the_session_said():
    taken = list(made.labelled(recorded((True, "success", False)), SETTINGS, believe=True))
    assert set(taken[0][1]) == {0}


def test_frames_of_resets_belong_to_no_episode():
    ((seen, _),) = made.labelled(recorded((True, "kept", None)), SETTINGS)
    assert seen[0].stamp_ns == 3 * TICK_NS


def test_long_episodes_are_thinned_far_from_their_end():
    ((seen, labels),) = made.labelled(recorded((True, "kept", None), count=67), SETTINGS)
    assert len(seen) == len(labels) == 20 + 7
    assert np.diff([s.stamp_ns for s in seen[-7:]]).max() == TICK_NS


def test_frames_come_back_from_their_file_and_join_with_others(tmp_path):
    one = made.gather(made.labelled(recorded((True, "kept", None), (False, "", False)), SETTINGS))
    made.write(tmp_path / "f.safetensors", one)
    two = made.joined([made.read(tmp_path / "f.safetensors")] * 2)
    assert len(two) == 2 * len(one) == 40 and sorted(set(two.episodes)) == [0, 1, 2, 3]
    np.testing.assert_array_equal(two.inputs["front"][20:], one.inputs["front"])


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"\0" * 64, lambda data: b""])
def test_a_damaged_file_is_refused(tmp_path, damage):
    file = tmp_path / "f.safetensors"
    made.write(file, frames(4))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match="cannot be read"):
        made.read(file)


def test_nothing_judged_and_inputs_that_are_not_there_are_refused():
    with pytest.raises(DataError, match="no episode was judged by a person"):
        made.gather(made.labelled(recorded((True, "time", None)), SETTINGS))
    with pytest.raises(DataError, match="observations have no 'wrist', but front"):
        made.gather(made.labelled(recorded((True, "kept", None)), SETTINGS), ["wrist"])
    with pytest.raises(DataError, match="not of the same inputs"):
        made.joined([frames(4), made.Frames({"wrist": frames(4).inputs["front"]}, np.zeros(56), np.zeros(56))])
