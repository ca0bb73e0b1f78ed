"""A classifier learns from some episodes, is judged on others, and is written only where it is precise."""

import dataclasses
import json

import numpy as np
import pytest
from bright import SETTINGS, frames, image, observation

from tmrl_ros.errors import DataError
from tmrl_ros.reward import training
from tmrl_ros.reward.classifier import Classifier
from tmrl_ros.reward.frames import Frames
from tmrl_ros.reward.verdict import Verdict


def train(made, out, settings=SETTINGS):
    return training.train(made, settings, 0, out, lambda step, loss: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("reward") / "classifier"
    report = train(frames(), out)
    assert report.precision == 1 and report.recall == 1 and report.episodes == 4
    return out


def test_what_was_trained_is_judged_the_same_after_it_was_read(folder):
    classifier, rng = Classifier.load(folder), np.random.default_rng(5)
    for high, verdict in ((True, Verdict.SUCCESS), (False, Verdict.FAILURE)):
        said = [classifier.judge(observation(1, image(high, rng)))[0] for _ in range(20)]
        assert sum(one == verdict for one in said) >= 19
    assert json.loads((folder / "meta.json").read_text())["report"]["precision"] == 1
    assert {path.name for path in folder.iterdir()} == {"meta.json", "tensors.safetensors"}


def test_labels_that_say_nothing_are_learned_to_no_precision_and_nothing_is_written(tmp_path):
    made, rng = frames(), np.random.default_rng(1)
    random = dataclasses.replace(made, labels=rng.permutation(made.labels))
    with pytest.raises(DataError, match=r"nothing is written: precision .* of 0.95 and a recall of 0.5 are needed"):
        train(random, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_never_says_success_is_not_written_either(tmp_path):
    timid = SETTINGS.model_copy(update={"success_at": 0.999999, "steps": 1})
    with pytest.raises(DataError, match="precision nan"):
        train(frames(), tmp_path / "out", timid)


def test_held_out_episodes_are_whole_and_frames_in_doubt_are_in_neither_part():
    learned, judged = training.split(frames(), 0.25, 0)
    assert not set(learned.episodes) & set(judged.episodes)
    assert Verdict.UNKNOWN not in {*learned.labels, *judged.labels}
    assert {*judged.labels} == {Verdict.SUCCESS, Verdict.FAILURE}


def test_too_few_successes_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 episodes show success; at least 4"):
        train(frames(6), tmp_path / "out")
    every = frames()
    won = every.take(every.labels == Verdict.SUCCESS)
    with pytest.raises(DataError, match="success alone"):
        train(won, tmp_path / "out")


def test_recall_and_precision_count_unknown_as_not_found():
    class Certain:
        config = SETTINGS

        def probability(self, inputs):
            return np.array([0.95, 0.5, 0.95, 0.05, 0.5])

    report = training.judge(Certain(), Frames({}, np.array([1, 1, 0, 0, 0]), np.array([0, 0, 1, 1, 1])))
    assert (report.precision, report.recall, report.unknown_share) == (0.5, 0.5, 0.4)


def test_another_image_size_is_refused(folder):
    with pytest.raises(DataError, match=r"front is \[10, 10, 3\], the classifier was trained with \[24, 24, 3\]"):
        Classifier.load(folder).judge(observation(1, np.zeros((10, 10, 3), np.uint8)))
