"""Bags of what a live session seldom has: episodes that a person judged afterwards, and decisions of another method."""

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("rclpy")
from rclpy.serialization import serialize_message

from tmrl_ros.config import BaseConfig, LearnerConfig, SacConfig, Timing
from tmrl_ros.data import schema, store
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes import convert, replay
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import from_bag
from tmrl_ros.types import Decision, EpisodeEvent, Label, Mode, Modulation, Observation

torch.manual_seed(0)
BASE = BasePolicy(BaseConfig(width=16, layers=1), 3, 2, 4).eval()
TIMING = Timing(action_horizon=4, execution_horizon=2)
SECOND, LENGTH, EPISODES = 10**9, 3, 3  # LENGTH decisions an episode, a second each
TOPICS = {Observation: "/observation", Decision: "/decision", EpisodeEvent: "/episode_event"}


def learner(method: str = "tmrl") -> Learner:
    return Learner(LearnerConfig(method=method, timing=TIMING, sac=SacConfig(batch=16)), BASE)


def session(kept: set[int], labels: dict[int, bool], early: bool = False, modulation=None, rows: int = 2) -> list:
    """Records of a session; `early`: labels come before the observation that completes their episode."""
    records, rng = [Observation(1, np.zeros(3, np.float32))], np.random.default_rng(0)
    for number in range(EPISODES * LENGTH):
        episode, start_ns, end_ns = number // LENGTH, number * SECOND + 1, (number + 1) * SECOND + 1
        last = number % LENGTH == LENGTH - 1
        won = last and episode in kept
        seen = Observation(end_ns, rng.normal(size=3).astype(np.float32))
        drawn = modulation or Modulation(rng.normal(size=2).astype(np.float32), 0.1)
        actions = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
        records += [
            Decision(start_ns, end_ns, episode, number, Mode.POLICY, actions, drawn, 0, won - 1.0, won,
                     last and not won, won, False, float(number)),
            seen,
        ]  # fmt: skip
        if last and episode in labels:
            event = EpisodeEvent(
                end_ns, episode, "labelled", Mode.POLICY, False, labels[episode], True, LENGTH, "", 1.0
            )
            records.insert(len(records) - early, event)
    return records


def bag(folder, records):
    with BagWriter(folder) as writer:
        for kind, topic in TOPICS.items():
            name = f"tmrl_msgs/msg/{kind.__name__}"
            writer.add_topic(topic, name, schema.definition(name))
        for k, record in enumerate(records):
            writer.write(TOPICS[type(record)], k, serialize_message(convert.to_msg(record)))
    return folder


def rebuilt(*bags) -> Learner:
    made = learner()
    from_bag.rebuild(made, bags)
    return made


@pytest.mark.parametrize("early", [False, True])
def test_a_labelled_bag_is_the_bag_of_a_session_whose_person_was_right_at_once(tmp_path, early):
    late = bag(tmp_path / "late", session({2}, {0: True, 2: False}, early))
    timely = bag(tmp_path / "timely", session({0}, {}))
    assert rebuilt(late).digest == rebuilt(timely).digest
    both = rebuilt(late, late).replay
    assert both.episode[: len(both)].max() == 2 * EPISODES - 1
    np.testing.assert_array_equal(np.unique(both.episode[both.successful]), [0, EPISODES])


def test_labels_come_where_they_were_recorded_and_transitions_as_ever(tmp_path):
    recorded = bag(tmp_path / "bag", session(set(), {1: True}))
    found = list(replay.experience(recorded, TIMING))
    assert found[2 * LENGTH] == Label(1, True) and len(found) == EPISODES * LENGTH + 1
    assert [t.decision for t in replay.transitions(recorded, TIMING)] == list(range(EPISODES * LENGTH))


def test_a_label_of_an_episode_that_made_no_transition_is_counted_and_does_not_reach_into_the_next_bag(
    tmp_path, capsys
):
    records = session(set(), {EPISODES - 1: True})
    cut = bag(tmp_path / "cut", [r for r in records if not (isinstance(r, Decision) and r.episode == EPISODES - 1)])
    made = rebuilt(cut, bag(tmp_path / "whole", session(set(), {})))
    assert not made.replay.successful.any()
    assert "1 labels of episodes without a decision" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["tmrl", "rfs", "residual"])
def test_the_evaluation_of_a_base_is_no_experience_of_an_actor_that_chooses_noise(tmp_path, method):
    whole = Modulation(np.zeros(8, np.float32))  # the noise of a chunk
    recorded, made = bag(tmp_path / "bag", session(set(), {}, modulation=whole)), learner(method)
    if made.steering.judges_action:
        from_bag.rebuild(made, [recorded])
        executed = [t.actions.flatten() for t in replay.transitions(recorded, TIMING)]
        np.testing.assert_array_equal(made.replay.rows["action"][: len(executed)], executed)
    else:
        with pytest.raises(DataError, match=r"nothing to learn from in .*bag; give bags of .* method tmrl"):
            from_bag.rebuild(made, [recorded])


def test_rows_that_were_cut_say_nothing_of_the_chunk_of_another_method(tmp_path):
    recorded = bag(tmp_path / "bag", session(set(), {}, modulation=Modulation(np.zeros(8, np.float32)), rows=1))
    with pytest.raises(DataError, match="nothing to learn from"):
        from_bag.rebuild(learner("rfs"), [recorded])


def test_a_persons_episodes_at_deployment_come_before_those_of_the_bag(tmp_path):
    recorded = bag(tmp_path / "bag", session(set(), {}))
    shown = [(np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32))]
    names = {"state_names": ["a", "b", "c"], "action_names": ["x", "grip"], "action_hz": 10}
    meta = store.StoreMeta(task="pick_cube", seed=0, calibration="true", **names)
    store.write(tmp_path / "shown.zarr", store.collect(shown, meta))
    BASE.save(tmp_path / "base", {})
    settings = {"corrections": str(tmp_path / "shown.zarr"), "relabel_error": 10.0, "corrections_updates": 2}
    settings |= {"timing": {"action_horizon": 4, "execution_horizon": 2}, "sac": {"batch": 16}}
    (tmp_path / "file.yaml").write_text(yaml.safe_dump({"learner": {"ros__parameters": settings}}))
    file = str(tmp_path / "file.yaml")
    made = from_bag.run([recorded], tmp_path / "base", tmp_path / "out", "tmrl", "", 0, False, 0, file)
    assert made.replay.shown.sum() == 2 and made.replay.episode.max() == EPISODES - 1 and made.sac.updates == 2
    assert len(made.replay) == 2 + EPISODES * LENGTH
