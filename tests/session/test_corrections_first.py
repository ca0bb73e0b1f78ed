"""Fine-tuning that begins with a few episodes of a person's at deployment."""

import numpy as np
import pytest

from tmrl_ros.config import LearnerConfig, SacConfig
from tmrl_ros.data import store
from tmrl_ros.learner.core import Learner
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import phases, runlog
from tmrl_ros.types import Mode

EPISODES = 2


@pytest.fixture(scope="module")
def run(pretrained, tmp_path_factory):
    """Folder of a short session that began with EPISODES of a scripted person."""
    folder = tmp_path_factory.mktemp("corrected")
    (folder / "base_policy").symlink_to(pretrained.base)
    learner = {"corrections_updates": 5, "sac": {"updates_per_decision": 1}}
    phases.finetune(
        phases.Job(minutes=0.5, corrections=EPISODES, in_process=True, overrides={"learner": learner}), folder
    )
    return folder


def test_robot_time_episodes_and_start_states_go_on_from_the_persons(run):
    theirs, own = (runlog.episode_events(run, phase) for phase in ("correct", "finetune"))
    assert [event.episode for event in theirs if event.kind == "ended"] == list(range(EPISODES))
    assert own[0].episode == EPISODES and own[0].robot_time_s > theirs[-1].robot_time_s
    assert own[-1].robot_time_s == pytest.approx(30.0, abs=0.2) and own[0].source == Mode.POLICY


def test_learner_and_actor_begin_with_what_the_person_did(run, pretrained):
    base, shown = BasePolicy.load(pretrained.base), store.read(run / phases.CORRECTIONS)
    settings = {"corrections_updates": 5, "relabel_error": 10.0, "sac": SacConfig(batch=16)}
    learner = Learner(LearnerConfig(**settings), base, corrections=shown)
    ends = shown.ends
    decisions = sum(-(-int(rows) // 8) for rows in np.diff(ends, prepend=0))
    assert len(learner.replay) == decisions and learner.replay.shown[:decisions].all() and learner.warm
    assert learner.replay.successful[:decisions].all() and learner.episodes == EPISODES and learner.version == 0
    assert learner.sac.updates == 5
    assert (learner.replay.rows["bootstrap"][:decisions] == 0).sum() == EPISODES


def test_corrections_that_the_base_cannot_make_leave_the_learner_as_it_was(run, pretrained):
    base, shown = BasePolicy.load(pretrained.base), store.read(run / phases.CORRECTIONS)
    learner = Learner(LearnerConfig(relabel_error=0.0), base, corrections=shown)
    assert len(learner.replay) == 0 and not learner.warm
