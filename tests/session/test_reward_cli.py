"""From a bag that a person labelled to a classifier on disk, by the tmrl command."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
from rclpy.serialization import serialize_message

from tmrl_ros.data import schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.nodes import convert
from tmrl_ros.reward.classifier import Classifier
from tmrl_ros.types import Observation

sys.path.append(str(Path(__file__).parents[1] / "reward"))
import bright

TYPES = {"/observation": "tmrl_msgs/msg/Observation", "/episode_event": "tmrl_msgs/msg/EpisodeEvent"}


@pytest.fixture
def folder(tmp_path):
    """A bag of 16 episodes, and a parameter file of a small training."""
    rng, stamp_ns = np.random.default_rng(2), bright.TICK_NS
    with BagWriter(tmp_path / "bag") as writer:
        for topic, type_name in TYPES.items():
            writer.add_topic(topic, type_name, schema.definition(type_name))

        def write(record):
            topic = "/observation" if isinstance(record, Observation) else "/episode_event"
            writer.write(topic, record.stamp_ns, serialize_message(convert.to_msg(record)))

        for number in range(16):
            write(bright.event(stamp_ns, number, "started"))
            for pixels in bright.episode(number % 2 == 0, rng):
                write(bright.observation(stamp_ns, pixels))
                stamp_ns += bright.TICK_NS
            write(bright.event(stamp_ns - bright.TICK_NS, number, "ended", False, "time"))
            write(bright.event(stamp_ns, number, "labelled", number % 2 == 0, "time"))
    training = {"/**/reward": {"ros__parameters": {"training": bright.SETTINGS.model_dump()}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(training))
    return tmp_path


@pytest.fixture
def tmrl(tmrl, folder):
    return lambda *words: tmrl("reward", *words, "--params-file", folder / "params.yaml")


def test_a_labelled_bag_becomes_frames_and_frames_a_classifier(tmrl, folder):
    status, out, _ = tmrl("label", folder / "bag", folder / "frames.safetensors")
    assert status == 0 and "16 episodes, 24 frames show success" in out
    status, out, _ = tmrl("train", folder / "frames.safetensors", folder / "reward")
    assert status == 0 and "precision 1.000" in out and "4 held-out episodes" in out
    assert Classifier.load(folder / "reward").config == bright.SETTINGS
    for words in (("label", folder / "bag", folder / "frames.safetensors"), ("train", folder / "f", folder / "reward")):
        status, _, err = tmrl(*words)
        assert status == 2 and "already exists" in err


def test_what_cannot_be_read_or_has_no_such_image_is_one_sentence(tmrl, folder):
    status, _, err = tmrl("label", folder / "bag", folder / "out", "--inputs", "wrist")
    assert status == 2 and "observations have no 'wrist', but front" in err
    status, _, err = tmrl("train", folder / "params.yaml", folder / "reward")
    assert status == 2 and "give what `tmrl reward label` wrote" in err and "Traceback" not in err
