"""`tmrl pretrain` through the real command: what the numbers mean goes with the base, and wrong ones are refused."""

import dataclasses

import pytest

from tmrl_ros.data import store
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.types import ACTION_NAMES


@pytest.fixture
def pretrain(pretrained, tmrl, monkeypatch, tmp_path):
    """pretrain(scale, **meta): status and stderr of pre-training for a few steps on a store that differs in those."""
    (tmp_path / "quick.yaml").write_text("pretrain: {ros__parameters: {policy: {width: 16, layers: 1, steps: 3}}}\n")
    monkeypatch.chdir(tmp_path)

    def run(scale=1.0, **meta):
        made = store.read(pretrained.demos)
        meta = made.meta.model_copy(update=meta)
        store.write("demos.zarr", dataclasses.replace(made, meta=meta, actions=made.actions * scale))
        status, _, err = tmrl("pretrain", "demos.zarr", "base", "--params-file=quick.yaml")
        return status, err

    return run


def test_a_base_keeps_what_the_numbers_of_its_demonstrations_mean(pretrain, tmp_path):
    assert pretrain(action_hz=5)[0] == 0
    base = BasePolicy.load(tmp_path / "base")
    assert (base.state_names, base.action_names, base.action_hz) == (tuple(STATE_NAMES), ACTION_NAMES, 5)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"scale": 2.1}, r"reaches 2.1, but an action is a share of a step in [-1, 1]"),
        ({"action_names": ["q1", "q2", "q3", "grip"]}, "holds the actions q1, q2, q3, grip, but a robot here acts by"),
    ],
)
def test_actions_that_mean_something_else_are_refused_and_leave_nothing(pretrain, tmp_path, other, sentence):
    status, err = pretrain(**other)
    assert status == 2 and sentence in err and err.count("\n") == 1
    assert not (tmp_path / "base").exists()
