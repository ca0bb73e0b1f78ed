"""`tmrl train`, `tmrl evaluate` and `tmrl compare` through the real command."""

import json

import numpy as np
import pytest
import yaml

from tmrl_ros.config import METHODS, LearnerConfig
from tmrl_ros.data import store
from tmrl_ros.learner.core import Learner
from tmrl_ros.policy.base import BasePolicy


@pytest.fixture
def tmrl(tmrl, monkeypatch, tmp_path):
    """The command in an empty folder, with a parameter file of short episodes."""
    quick = {"task": {"episode_s": 0.8, "reset_s": 2.5}}
    nodes = {
        "/**": quick,
        "learner": {"offline": {"updates": 20}, "sac": {"warmup_episodes": 1, "updates_per_decision": 1}},
        "supervisor": {"auto_resume_s": 1.0},
    }
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump({k: {"ros__parameters": v} for k, v in nodes.items()}))
    monkeypatch.chdir(tmp_path)
    return tmrl


def test_an_actor_trained_in_simulation_can_be_evaluated(tmrl, pretrained, tmp_path):
    file = "--params-file=quick.yaml"
    status, _, err = tmrl("train", pretrained.base, "run", "--minutes=0.3", file)
    assert status == 0, err
    actor = "--actor=run/finetune/checkpoints/actor"
    status, out, err = tmrl("evaluate", pretrained.base, "seen", actor, "--episodes=2", file)
    assert status == 0, err
    assert "of 2 episodes" in out and json.loads((tmp_path / "seen/success.json").read_text())["n"] == 2


@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_a_base_that_cannot_be_loaded_leaves_no_folder_that_blocks_another_try(tmrl, tmp_path, command):
    for _ in range(2):
        status, _, err = tmrl(command, "nope", "out")
        assert status == 2 and "nope" in err and err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_an_actor_that_cannot_be_loaded_leaves_no_folder_either(tmrl, pretrained, tmp_path):
    status, _, err = tmrl("evaluate", pretrained.base, "out", "--actor=nope")
    assert status == 2 and "nope: no checkpoint here" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["rfs", "rlpd"])
def test_corrections_train_an_actor_offline(tmrl, pretrained, tmp_path, method):
    words = ["--offline", f"--method={method}", f"--demos={pretrained.demos}", "--params-file=quick.yaml"]
    status, _, err = tmrl("train", pretrained.base, "run", *words)
    assert status == 0, err
    status, out, err = tmrl(
        "evaluate", pretrained.base, "seen", "--actor=run/actor", "--episodes=1", "--params-file=quick.yaml"
    )
    assert status == 0, err
    assert "of 1 episodes" in out


def test_learning_goes_on_offline_from_a_sessions_learner(tmrl, pretrained, tmp_path):
    base = BasePolicy.load(pretrained.base)
    Learner(LearnerConfig(seed=3), base).save(tmp_path / "learner")
    status, _, err = tmrl(
        "train", pretrained.base, "run", "--offline", "--checkpoint=learner", "--params-file=quick.yaml"
    )
    assert status == 2 and "no decision" in err


def test_only_a_method_that_keeps_learning_from_demonstrations_takes_them_beside_its_experience(
    tmrl, pretrained, tmp_path
):
    base, method = BasePolicy.load(pretrained.base), METHODS["rlpd"].learner
    for name, config in (("tmrl", LearnerConfig()), ("rlpd", LearnerConfig(method="rlpd", **method))):
        learner = Learner(config, base, store.read(pretrained.demos))
        row = {"features": learner.base.feature_dim, "action": learner.steering.judged_dim}
        row = {field: np.zeros(dim, np.float32) for field, dim in row.items()}
        learner.replay.add(0, False, **row, reward=-1.0, next_features=row["features"], bootstrap=1.0)
        learner.save(tmp_path / name)
    words = ["train", pretrained.base, "run", "--offline", "--params-file=quick.yaml", f"--demos={pretrained.demos}"]
    status, _, err = tmrl(*words, "--checkpoint=tmrl")
    assert status == 2 and "one source" in err and not (tmp_path / "run").exists()
    status, _, err = tmrl(*words, "--checkpoint=rlpd")
    assert status == 0, err
    assert (tmp_path / "run/actor/meta.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--offline"], "one source"),
        (["--offline", "--demos=nowhere", "--method=rfs"], "nowhere is not a demonstration store"),
        (["--method=base"], "'base' is not one of"),
    ],
)
def test_bad_wishes_are_refused_in_a_sentence_and_leave_nothing(tmrl, pretrained, tmp_path, words, sentence):
    status, _, err = tmrl("train", pretrained.base, "run", *words)
    assert status == 2 and sentence in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_offline_learning_of_a_method_that_steers_noise_is_refused(tmrl, pretrained):
    status, _, err = tmrl("train", pretrained.base, "run", "--offline", f"--demos={pretrained.demos}")
    assert status == 2 and "judge actions" in err
