"""A person's verdict on an episode that has ended: the learner has what it would have had if the end had said so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tmrl_ros.config import BaseConfig, LearnerConfig, SacConfig, Timing
from tmrl_ros.data.assembler import Transition
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import LEARNER_FORMAT, Learner
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint
from tmrl_ros.types import Modulation, Observation

torch.manual_seed(0)
BASE = BasePolicy(BaseConfig(width=16, layers=1), 3, 2, 4).eval()
CONFIG = LearnerConfig(timing=Timing(action_horizon=4, execution_horizon=2), sac=SacConfig(batch=16))
LENGTH = 3  # decisions an episode


def transition(decision: int, kept: bool = False, cut: bool = False) -> Transition:
    """One of an episode that a person alone judges: it ends with time, kept as a success, or cut by a hold."""
    rng = np.random.default_rng(decision)
    seen = [Observation(k, rng.normal(size=3).astype(np.float32)) for k in range(2)]
    end = decision % LENGTH == LENGTH - 1 and not cut
    kept &= end
    return Transition(
        observation=seen[0], next_observation=seen[1],
        modulation=Modulation(rng.normal(size=2).astype(np.float32), 0.1),
        actions=rng.uniform(-1, 1, (2, 2)).astype(np.float32), executed=2, reward=kept - 1.0, terminated=kept,
        truncated=end and not kept, success=kept, episode=decision // LENGTH, decision=decision, actor_version=0,
        greedy=False, demo=False,
    )  # fmt: skip


def fed(decisions, *kept: int, cut: int = -1) -> Learner:
    """A learner of these decisions; `kept` are the episodes that a person kept, `cut` is the one that a hold ended."""
    learner = Learner(CONFIG, BASE)
    for decision in decisions:
        episode = decision // LENGTH
        learner.add(transition(decision, episode in kept, episode == cut))
    return learner


def experience(learner: Learner) -> dict[str, list]:
    return {name: values.tolist() for name, values in learner.replay.state().items()}


@pytest.mark.parametrize("more", [0, 1, 6])
def test_an_episode_labelled_a_success_is_the_one_that_was_kept(more):
    learner = fed(range(2 * LENGTH + more))
    learner.label(1, True)
    assert experience(learner) == experience(fed(range(2 * LENGTH + more), 1))
    assert learner.replay.successful.sum() == LENGTH and learner.replay.rows["reward"].max() == 0
    assert learner.digest == fed(range(2 * LENGTH + more), 1).digest


def test_a_keep_that_was_wrong_is_taken_back():
    learner = fed(range(3 * LENGTH), 0, 1)
    learner.label(1, False)
    assert experience(learner) == experience(fed(range(3 * LENGTH), 0))


@pytest.mark.parametrize("heard", range(2 * LENGTH))
def test_a_label_that_comes_before_the_end_of_its_episode_waits_for_it(heard):
    learner = fed(range(heard))
    learner.label(1, True)
    for decision in range(heard, 3 * LENGTH):
        learner.add(transition(decision))
    assert experience(learner) == experience(fed(range(3 * LENGTH), 1)) and not learner.labels


def test_the_last_decision_of_an_episode_that_a_hold_cut_is_known_when_the_next_begins():
    learner = fed(range(LENGTH), cut=0)
    learner.label(0, True)
    assert not learner.replay.successful.any()
    learner.add(transition(LENGTH))
    assert learner.replay.successful.tolist()[: LENGTH + 1] == [True] * LENGTH + [False]
    assert experience(learner)["bootstrap"] == [1, 1, 0, 1]


def test_an_episode_that_the_replay_does_not_have_is_named_and_nothing_changes():
    learner = fed(range(LENGTH, 2 * LENGTH))
    before = experience(learner)
    learner.label(0, True)
    learner.label(2, True)
    assert learner.unfound == [0] and experience(learner) == before
    learner.add(replace(transition(2 * LENGTH), episode=3))
    assert learner.unfound == [0, 2]


def test_a_label_that_waits_is_in_the_checkpoint(tmp_path):
    learner, back = fed(range(LENGTH + 1)), Learner(CONFIG, BASE)
    learner.label(1, True)
    learner.save(tmp_path / "learner")
    back.restore(tmp_path / "learner")
    assert back.digest == learner.digest and back.labels == {1: True}
    back.label(0, True)
    assert back.replay.successful.sum() == LENGTH, "that one is over"


def altered(tmp_path, **changes) -> Learner:
    """The learner in a checkpoint whose meta.json says this; None: says nothing of it."""
    fed(range(LENGTH)).save(tmp_path / "learner")
    tensors, meta = read_checkpoint(tmp_path / "learner", LEARNER_FORMAT)
    write_checkpoint(tmp_path / "learner", tensors, {k: v for k, v in (meta | changes).items() if v is not None})
    back = Learner(CONFIG, BASE)
    back.restore(tmp_path / "learner")
    return back


def test_a_checkpoint_of_older_code_goes_on_and_takes_labels(tmp_path):
    back = altered(tmp_path, over=None, labels=None)
    back.label(0, True)
    back.add(transition(LENGTH))
    assert back.replay.successful.sum() == LENGTH


@pytest.mark.parametrize("labels", [5, [[1, 2]], [["a", True]], [1]])
def test_labels_that_are_none_are_refused(tmp_path, labels):
    with pytest.raises(DataError, match="remove the folder and resume, which learns the session's log again"):
        altered(tmp_path, labels=labels)
