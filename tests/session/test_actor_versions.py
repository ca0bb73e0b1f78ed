"""`tmrl actor`: back to any version of the actor that a session had, from its bag alone."""

import pytest
import torch

pytest.importorskip("rclpy")
from rclpy.serialization import serialize_message

from tmrl_ros.config import LearnerConfig
from tmrl_ros.data import schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes.convert import actor_update_msg, to_msg
from tmrl_ros.parameters import write_parameters
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint
from tmrl_ros.session import actor_versions
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Modulation

SECOND, PERIOD, PER_EPISODE = 10**9, 4, 8  # a decision takes a second, an episode eight
TOPICS = {"Decision": "/decision", "EpisodeEvent": "/episode_event", "ActorUpdate": "/actor_update"}


def decision(number: int) -> Decision:
    stamp_ns, end_ns, row = number * SECOND, (number + 1) * SECOND, torch.zeros(1, 4).numpy()
    values = stamp_ns, end_ns, number // PER_EPISODE, number, Mode.POLICY, row, Modulation(row[0]), 0
    return Decision(*values, -1.0, False, False, False, False, float(number + 1))


def ended(episode: int, success: bool) -> EpisodeEvent:
    at_s = (episode + 1) * PER_EPISODE
    return EpisodeEvent(
        at_s * SECOND, episode, "ended", Mode.POLICY, False, success, True, PER_EPISODE, "time", float(at_s)
    )


@pytest.fixture
def session(pretrained, tmp_path):
    """(bag of 24 decisions, its learner, folder of actors as the session would have written them by version).

    Versions come every 4 decisions, those up to 8 while the learner warmed up; the second of three episodes succeeded.
    """
    learner = Learner(LearnerConfig(base=str(pretrained.base)), BasePolicy.load(pretrained.base))
    attached = tmp_path / "attached.yaml"
    write_parameters(attached, {"learner": learner.config.model_dump(mode="json")})
    attachments = {"parameters.yaml": attached.read_bytes()}
    with BagWriter(tmp_path / "bag", attachments=attachments) as writer:
        for kind, topic in TOPICS.items():
            writer.add_topic(topic, f"tmrl_msgs/msg/{kind}", schema.definition(f"tmrl_msgs/msg/{kind}"))

        def write(kind, stamp_ns, message):
            writer.write(TOPICS[kind], stamp_ns, serialize_message(message))

        for number in range(24):
            made = decision(number)
            write("Decision", made.next_stamp_ns, to_msg(made))
            episode, over = number // PER_EPISODE, (number + 1) % PER_EPISODE == 0
            if over:
                write("EpisodeEvent", made.next_stamp_ns, to_msg(ended(episode, episode == 1)))
            learner.version = number + 1
            if learner.version % PERIOD == 0:
                warm = learner.version > 8
                with torch.no_grad():
                    next(learner.sac.average.parameters()).add_(0.1)
                learner.save_actor(tmp_path / f"own/{learner.version}")
                parameters = learner.actor_bytes() if warm else b""
                update = actor_update_msg(made.next_stamp_ns, learner.version, "tmrl", parameters, {})
                write("ActorUpdate", made.next_stamp_ns, update)
    return tmp_path / "bag", learner, tmp_path / "own"


def test_the_last_actor_of_each_episode_is_listed_with_what_the_robot_did_until_then(session, tmrl):
    found = actor_versions.versions(session[0])
    assert found == [(12, 12 / 60, 0, 1), (20, 20 / 60, 1, 2), (24, 24 / 60, 1, 3)]
    status, out, _ = tmrl("actor", session[0])
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == ["version", "12", "20", "24", "write"]
    assert "1 of 2" in out


def test_a_version_is_written_as_its_session_would_have(session, tmrl, tmp_path):
    bag, _, own = session
    for version in (12, 16):
        status, _, err = tmrl("actor", bag, tmp_path / f"out{version}", f"--version={version}")
        assert status == 0, err
        for file in ("meta.json", "tensors.safetensors"):
            assert (tmp_path / f"out{version}" / file).read_bytes() == (own / f"{version}" / file).read_bytes()
    assert (own / "12/tensors.safetensors").read_bytes() != (own / "16/tensors.safetensors").read_bytes()


def test_what_was_written_can_be_evaluated(session, tmrl, tmp_path, pretrained):
    assert tmrl("actor", session[0], tmp_path / "out", "--version=16")[0] == 0
    words = ["evaluate", pretrained.base, tmp_path / "seen", f"--actor={tmp_path / 'out'}", "--episodes=1"]
    status, out, err = tmrl(*words)
    assert status == 0, err
    assert "of 1 episodes" in out


def test_settings_beside_the_bag_win_and_a_base_may_have_moved(session, tmrl, tmp_path, pretrained):
    bag, learner, _ = session
    bounds = learner.config.modulation.model_copy(update={"sigma_max": 0.2})
    other = learner.config.model_copy(update={"base": "/gone", "modulation": bounds})
    write_parameters(bag.parent / "parameters.yaml", {"learner": other.model_dump(mode="json")})
    status, _, err = tmrl("actor", bag, tmp_path / "out", "--version=12")
    assert status == 2 and "/gone: no checkpoint here" in err and not (tmp_path / "out").exists()
    assert tmrl("actor", bag, tmp_path / "out", "--version=12", "--base", pretrained.base)[0] == 0
    assert read_checkpoint(tmp_path / "out", "tmrl_actor/2")[1]["modulation"]["sigma_max"] == 0.2


@pytest.mark.parametrize("version", [0, 8, 14, 99])
def test_a_version_that_is_not_there_is_refused_with_the_nearest(session, tmrl, tmp_path, version):
    status, _, err = tmrl("actor", session[0], tmp_path / "out", f"--version={version}")
    nearest = {0: 12, 8: 12, 14: 12, 99: 24}[version]
    assert status == 2 and f"version {version} is not in" in err and f"(12 to 24); the nearest is {nearest}\n" in err
    assert not (tmp_path / "out").exists()


def test_doubtful_wishes_are_refused_in_a_sentence(session, tmrl, tmp_path):
    with BagWriter(tmp_path / "empty"):
        pass
    (tmp_path / "there").mkdir()
    for words, sentence in (
        ([tmp_path / "empty"], "holds no actor that has learned"),
        ([tmp_path / "empty", tmp_path / "out", "--version=1"], "holds no actor that has learned"),
        ([tmp_path / "nowhere"], "nowhere is not a bag"),
        ([session[0], tmp_path / "there", "--version=12"], "already exists"),
        ([session[0], "--version=12"], "needs a folder"),
    ):
        status, _, err = tmrl("actor", *words)
        assert status == 2 and sentence in err and err.count("\n") == 1


def test_an_actor_that_is_damaged_is_to_be_had_from_the_bag(session, tmrl, tmp_path, pretrained):
    actor = session[2] / "12"
    (actor / "tensors.safetensors").write_bytes(b"")
    status, _, err = tmrl("evaluate", pretrained.base, tmp_path / "seen", f"--actor={actor}")
    assert status == 2 and "go back to one from the bag: tmrl actor BAG OUT --version N" in err
