"""Learning from bags alone: the session's learner again, bit for bit, and a place in time for every other recording."""

import shutil

import numpy as np
import pytest
import safetensors.torch

from tmrl_ros.config import LearnerConfig, Timing, validate
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes import replay
from tmrl_ros.policy.actor_file import actor_tensors, load_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import from_bag, summary
from tmrl_ros.session.starter import run_session

PATIENCE_S = 60.0
MINUTES = 0.6


@pytest.fixture(scope="module")
def recorded(finetuning, tmp_path_factory):
    """(run folder, settings of its learner) of a session over ROS."""
    folder = tmp_path_factory.mktemp("recorded")
    specs = finetuning(folder, PATIENCE_S, minutes=MINUTES)
    assert run_session(specs, folder) == 0
    return folder, validate(LearnerConfig, next(spec.parameters for spec in specs if spec.name == "learner"))


def learner(config) -> Learner:
    return Learner(config, BasePolicy.load(config.base))


@pytest.fixture
def sessions_own(recorded):
    folder, config = recorded
    own = learner(config)
    own.restore(folder / "checkpoints/learner")
    return own


def test_the_sessions_learner_comes_out_of_its_bag_bit_for_bit(recorded, sessions_own):
    folder, config = recorded
    again = learner(config)
    from_bag.rebuild(again, [folder / "bag"], live=True)
    assert again.sac.updates > 20
    assert again.digest == sessions_own.digest


def test_without_live_updates_the_replay_is_the_same_and_nothing_is_learned(recorded, sessions_own):
    again = learner(recorded[1])
    from_bag.rebuild(again, [recorded[0] / "bag"])
    assert again.sac.updates == 0
    for name, values in again.replay.state().items():
        np.testing.assert_array_equal(values, sessions_own.replay.state()[name], err_msg=name)


def test_two_bags_follow_one_another_and_keep_their_episodes_apart(recorded, sessions_own):
    again, bag = learner(recorded[1]), recorded[0] / "bag"
    from_bag.rebuild(again, [bag, bag])
    one, both = sessions_own.replay.state(), again.replay.state()
    n = len(one["reward"])
    assert len(both["reward"]) == 2 * n and again.version == 2 * sessions_own.version
    assert both["episode"][n:].min() == one["episode"].max() + 1
    np.testing.assert_array_equal(both["successful"], np.tile(one["successful"], 2))
    np.testing.assert_array_equal(both["features"], np.tile(one["features"], (2, 1)))


def test_the_command_learns_and_leaves_an_actor(recorded, tmrl, tmp_path):
    folder, config = recorded
    words = ["train", config.base, tmp_path / "run", "--from-bag", folder / "bag", "--live", "--updates=5"]
    status, out, _ = tmrl(*words, f"--params-file={folder / 'parameters.yaml'}")
    count = len(list(replay.transitions(folder / "bag", Timing())))
    assert status == 0 and f"{count} decisions" in out
    learned = learner(config)
    learned.restore(tmp_path / "run/learner")
    expected = learner(config)
    from_bag.rebuild(expected, [folder / "bag"], live=True)
    for _ in range(5):
        expected.update()
    assert learned.digest == expected.digest
    assert (tmp_path / "run/actor/meta.json").exists()


def test_a_session_has_its_report_from_the_bag_alone(recorded, tmrl, tmp_path):
    folder, config = tmp_path / "session", recorded[1]
    folder.mkdir()
    for name in ("bag", "parameters.yaml"):
        (folder / name).symlink_to(recorded[0] / name)
    assert tmrl("report", folder)[0] == 0
    result, page = summary.read(folder), (folder / "report.html").read_text()
    assert (result["task"], result["method"]) == ("pick_cube", config.method)
    assert result["robot_minutes"] == pytest.approx(MINUTES, abs=0.1) and result["updates"] > 20
    assert "not evaluated" in page and "learner" in (folder / "config.yaml").read_text()
    status, _, err = tmrl("report", folder, "--before", tmp_path)
    assert status == 2 and "holds no bag" in err


def test_a_recorded_session_gives_back_its_actors_from_a_bag_without_its_folder(recorded, tmrl, tmp_path):
    shutil.copytree(recorded[0] / "bag", tmp_path / "bag")
    parameters = {version: data for version, data in replay.actor_updates(tmp_path / "bag") if data}
    status, out, _ = tmrl("actor", tmp_path / "bag")
    assert status == 0
    listed = [int(line.split()[0]) for line in out.splitlines()[1:-1]]
    assert len(listed) > 1 and set(listed) <= set(parameters) and listed[-1] == max(parameters)
    version = listed[0]
    assert tmrl("actor", tmp_path / "bag", tmp_path / "out", f"--version={version}")[0] == 0
    own, horizon = BasePolicy.load(recorded[1].base), recorded[1].timing.execution_horizon
    steering, actor, critic, found = load_actor(tmp_path / "out", own, horizon)
    assert found == version and steering.config == recorded[1].steering
    assert safetensors.torch.save(actor_tensors(actor, critic)) == parameters[version]


def test_bags_without_decisions_and_doubtful_wishes_are_refused_in_a_sentence(recorded, tmrl, tmp_path):
    with BagWriter(tmp_path / "empty"):
        pass
    base = recorded[1].base
    for bag, more, sentence in (
        (tmp_path / "empty", [], "nothing to learn from in"),
        (tmp_path / "nowhere", [], "nowhere is not a bag"),
        (tmp_path / "empty", ["--offline"], "is a source of its own"),
    ):
        status, _, err = tmrl("train", base, tmp_path / "run", "--from-bag", bag, *more)
        assert status == 2 and sentence in err
        assert not (tmp_path / "run").exists()
