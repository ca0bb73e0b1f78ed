"""Damaged and hostile inputs: a part of what benchmarks/corrupt.py does, and that it sees what it counts."""

import os
import pickle
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import corrupt

EACH = 8
UNCHECKED = ("bag in SQLite",)  # rosbag2's older format has no checksum: a flipped bit in a message cannot be seen


def test_every_input_is_refused_in_a_sentence_or_recovered_and_nothing_in_it_runs(tmp_path):
    judged = list(corrupt.judge(EACH, 1, tmp_path))
    bad = [entry for entry in judged if entry.outcome in corrupt.BAD]
    assert not [entry for entry in bad if entry.kind not in UNCHECKED or entry.outcome != "wrong"]
    counts = corrupt.result(judged)
    assert counts["inputs"] == EACH * len({entry.kind for entry in judged}) >= 80
    assert counts["refused"] > 0.7 * counts["inputs"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((["a", "b"], "", "", ""), "unchanged"),
        ((["a"], "1 byte was cut off", "", ""), "recovered"),
        ((["a"], "", "", ""), "wrong"),
        ((["b"], "1 byte was cut off", "", ""), "recovered"),
        ((["b", "a"], "1 byte was cut off", "", ""), "wrong"),
        ((["a", "x"], "", "", ""), "wrong"),
        (([], "", "TmrlError", "the file is damaged"), "refused"),
        (([], "", "TmrlError", "two\nlines"), "traceback"),
        (([], "", "KeyError", "Traceback"), "traceback"),
        (([], "", "Crash", "no answer"), "traceback"),
    ],
)
def test_what_a_reader_answers_is_judged_by_the_sound_content(answer, outcome):
    assert corrupt._outcome(["a", "b"], *answer)[0] == outcome


def test_the_canary_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("TMRL_CANARY", str(tmp_path / "canary"))
    import corpus

    pickle.loads(corpus.hostile_pickle())
    assert os.path.exists(tmp_path / "canary")
