"""The learner's durability: killed at any point it comes back bit for bit, and lost nothing that it acknowledged."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tmrl_ros.config import ActorConfig, BaseConfig, LearnerConfig, SacConfig
from tmrl_ros.data import append_log, transition_log
from tmrl_ros.data.assembler import Transition
from tmrl_ros.data.transition_log import ACTOR, LOG, STATE
from tmrl_ros.errors import DataError, TmrlError
from tmrl_ros.learner import core
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes.learning import Learning
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.types import Label, Modulation, Observation

torch.manual_seed(0)
BASE = BasePolicy(BaseConfig(width=16, layers=1), 3, 2, 4).eval()
SMALL = {"sac": SacConfig(warmup_episodes=2, updates_per_decision=3, batch=16), "modulation": ActorConfig(width=16)}


def transition(number: int) -> Transition:
    rng = np.random.default_rng(number)
    seen = [Observation(10 * number + k, rng.normal(size=3).astype(np.float32)) for k in range(2)]
    last = number % 4 == 3
    return Transition(
        observation=seen[0], next_observation=seen[1],
        modulation=Modulation(rng.normal(size=2).astype(np.float32), 0.1),
        actions=rng.uniform(-1, 1, (8, 2)).astype(np.float32), executed=8, reward=-1.0, terminated=last,
        truncated=False, success=last and number % 8 == 7, episode=number // 4, decision=number, actor_version=0,
        greedy=False, demo=False, robot_time_s=0.8 * number,
    )  # fmt: skip


@pytest.fixture
def config(tmp_path):
    return LearnerConfig(checkpoint=str(tmp_path / "checkpoints"), checkpoint_episodes=3, **SMALL)


def learning(config) -> tuple[Learning, list]:
    """A started Learning, and what it publishes as (version, parameters)."""
    published = []
    made = Learning(Learner(config, BASE), lambda version, parameters, metrics: published.append((version, parameters)))
    made.start()
    return made, published


def learned(config, count: int) -> Learner:
    """A learner that nothing interrupted."""
    whole = Learner(config, BASE)
    for number in range(count):
        whole.add(transition(number))
        whole.learn()
    return whole


@pytest.mark.parametrize("count", [0, 3, 12, 13, 21])
def test_a_learner_left_without_a_word_comes_back_bit_for_bit(config, count):
    left, published = learning(config)
    for number in range(count):
        left.learn(transition(number))
    os.close(left._log._file)  # as the kernel does with a process that was killed
    back, again = learning(config)
    whole = learned(config, count)
    assert (back.core.version, back.core.digest) == (count, whole.digest)
    assert again[0] == published[-1], "the policy may be waiting for it"
    assert again[1:] == ([(count, whole.actor_bytes() if whole.warm else b"")] if count % 4 else [])
    back.learn(transition(count))
    assert back.core.digest == learned(config, count + 1).digest


LABELS = {5: Label(0, True), 9: Label(1, False), 13: Label(3, True), 19: Label(9, True), 20: Label(4, True)}


def labelled(take, label, count: int) -> None:
    """`count` transitions, and before some of them, or after the last, a label: some wait, and some are of nothing."""
    for number in range(count + 1):
        if number in LABELS:
            label(LABELS[number])
        if number < count:
            take(transition(number))


@pytest.mark.parametrize("count", [5, 9, 12, 13, 14, 20, 22])
@pytest.mark.parametrize("ended", [False, True])
def test_a_learner_that_heard_labels_comes_back_bit_for_bit(config, count, ended):
    left, _ = learning(config)
    labelled(left.learn, left.label, count)
    left.close() if ended else os.close(left._log._file)
    back, _ = learning(config)
    whole = Learner(config, BASE)
    labelled(lambda t: (whole.add(t), whole.learn()), lambda label: whole.label(label.episode, label.success), count)
    assert back.core.digest == whole.digest != learned(config, count).digest
    assert back.core.labels == whole.labels and whole.replay.successful[:4].all()


def test_a_label_of_an_episode_that_is_not_there_is_said_once(config):
    said = []
    made = Learning(Learner(config, BASE), lambda *_: None, said.append)
    made.start()
    for number in range(4, 9):
        made.learn(transition(number))
    made.label(Label(0, True))
    made.label(Label(1, True))
    made.learn(transition(9))
    assert said == ["episode 0 was labelled, but the replay holds no decision of it; nothing changes"]


def test_a_learner_that_was_ended_comes_back_bit_for_bit(config):
    left, _ = learning(config)
    for number in range(13):
        left.learn(transition(number))
    left.close()
    back, published = learning(config)
    assert back.core.digest == learned(config, 13).digest
    assert published == [(12, back.core.actor_bytes()), (13, back.core.actor_bytes())]


def test_a_version_is_out_only_after_all_that_it_counts_is_in_the_log(config, tmp_path):
    held = []

    def publish(version, parameters, metrics):
        log = tmp_path / "checkpoints" / LOG
        held.append((version, len(list(append_log.read(log))) if log.exists() else 0))

    made = Learning(Learner(config, BASE), publish)
    made.start()
    for number in range(12):
        made.learn(transition(number))
    assert held == [(0, 0), (4, 4), (8, 8), (12, 12)]


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_the_log_does_the_rest(config, tmp_path):
    left, _ = learning(config)
    for number in range(26):
        left.learn(transition(number))
    os.close(left._log._file)
    tensors = tmp_path / "checkpoints" / STATE / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    back, _ = learning(config)
    assert back.core.digest == learned(config, 26).digest
    assert core.recover(tmp_path / "checkpoints" / STATE)


def test_a_checkpoint_whose_exchange_was_cut_is_found(config, tmp_path):
    left, _ = learning(config)
    for number in range(14):
        left.learn(transition(number))
    os.close(left._log._file)
    for name in (STATE, ACTOR):
        (tmp_path / "checkpoints" / name).rename(tmp_path / "checkpoints" / f".{name}.next")
        (tmp_path / "checkpoints" / f"..{name}.next.123").mkdir()  # as a kill leaves it while it is written
    back, _ = learning(config)
    assert back.core.digest == learned(config, 14).digest
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {STATE, ACTOR, LOG}


def test_without_any_checkpoint_the_log_is_enough(config, tmp_path):
    left, _ = learning(config)
    for number in range(6):
        left.learn(transition(number))
    os.close(left._log._file)
    assert not (tmp_path / "checkpoints" / STATE).exists()
    assert learning(config)[0].core.digest == learned(config, 6).digest


def test_a_log_that_is_not_the_checkpoints_is_refused(config, tmp_path):
    left, _ = learning(config)
    for number in range(12):
        left.learn(transition(number))
    left.close()
    log = tmp_path / "checkpoints" / LOG
    log.unlink()
    with append_log.AppendLog(log) as other:
        for number in range(12):
            other.append(transition_log.encode(transition(number + 1)))
    with pytest.raises(TmrlError, match=r"cannot resume: .*is not the log that .* was learned from \(12 records\)"):
        learning(config)


def test_a_damaged_log_is_refused_by_record(config, tmp_path):
    left, _ = learning(config)
    for number in range(5):
        left.learn(transition(number))
    os.close(left._log._file)
    log = tmp_path / "checkpoints" / LOG
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(TmrlError, match=r"cannot resume: log .* is damaged: record 2"):
        learning(config)


def test_numbers_that_are_not_finite_are_said_and_do_not_enter(config, tmp_path):
    made, _ = learning(config)
    bad = transition(0)
    bad.observation.state[0] = np.nan
    made.learn(bad)
    made.learn(transition(1))
    assert made.refused == 1 and len(made.core.replay) == 1
    assert [t.decision for t in transition_log.read(tmp_path / "checkpoints" / LOG)] == [1]


def test_without_a_folder_nothing_is_kept():
    made, published = learning(LearnerConfig(**SMALL))
    for number in range(12):
        made.learn(transition(number))
    made.close()
    assert [version for version, _ in published] == [0, 4, 8, 12]


def _learn_for_ever(config, counter) -> None:
    made = Learning(Learner(config, BASE), lambda version, parameters, metrics: setattr(counter, "value", version))
    made.start()
    for number in range(made.core.version, 10_000):
        made.learn(transition(number))


def test_real_kills_at_any_moment_lose_nothing_that_was_acknowledged(config, tmp_path):
    """Each process is killed while it appends, learns or writes a checkpoint; the next one goes on."""
    config = config.model_copy(update={"checkpoint_episodes": 1})
    context = multiprocessing.get_context("forkserver")  # a fork of this process may inherit a held lock
    context.set_forkserver_preload([Learning.__module__])
    counter, rng = context.Value("q", -1), np.random.default_rng(0)
    for _ in range(5):
        before = counter.value
        process = context.Process(target=_learn_for_ever, args=(config, counter))
        process.start()
        deadline = time.monotonic() + 30
        while counter.value <= before + 4 and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        logged = [t.decision for t in transition_log.read(Path(config.checkpoint) / LOG)]
        assert logged == list(range(len(logged))) and len(logged) >= counter.value
    back, _ = learning(config)
    assert back.core.digest == learned(config, back.core.version).digest
    assert back.core.version >= counter.value > 20


def test_recover_tells_damage_from_absence(tmp_path):
    assert not core.recover(tmp_path / "learner")
    (tmp_path / "learner").mkdir()
    (tmp_path / "learner/meta.json").write_text("{}")
    with pytest.raises(DataError, match=r"tensors\.safetensors is missing"):
        core.recover(tmp_path / "learner")
