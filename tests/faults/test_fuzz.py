"""A short run of benchmarks/fuzz.py: what the supervisor promises at its knots it keeps at 1 kHz."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import fuzz

from tmrl_ros.supervisor import motion


@pytest.mark.parametrize("shard", range(len(fuzz.PROFILES)), ids=fuzz.PROFILES)
def test_fuzzed_commands_keep_every_limit_and_the_workspace(shard):
    total = fuzz.run_shard((7, shard, 300))
    assert total.commands == 300 and total.windows > 300
    assert fuzz.summary(total)["excess"] <= 1e-6
    assert total.workspace_mm <= 0.1
    assert not total.reflexes


def test_the_same_shard_gives_the_same_result():
    once, again = (fuzz.run_shard((3, 1, 100)) for _ in range(2))
    assert once == again
    assert once != fuzz.run_shard((4, 1, 100))


def test_a_supervisor_that_speeds_and_brakes_too_hard_is_found_out(monkeypatch):
    monkeypatch.setattr(motion.bound, "brake_ticks", lambda share: 1)
    monkeypatch.setattr(motion, "SPEED_SHARE", 1.1)
    total = fuzz.run_shard((0, 0, 400))
    assert total.excess["sim", "joint acceleration", "ours"] > 0.05
    assert total.excess["sim", "tcp speed", "ours"] > 0.01


def test_a_supervisor_without_a_workspace_is_found_out(monkeypatch):
    monkeypatch.setattr(motion.Motion, "_admissible", lambda self, end_q: True)
    monkeypatch.setattr(motion.bound, "clamp_goal", lambda goal_m, tcp_m, low_m, high_m, lead_m: goal_m)
    total = fuzz.run_shard((2, 0, 400))
    assert total.workspace_mm > 1


def test_bad_chunks_and_late_ones_are_refused():
    total = fuzz.run_shard((0, 1, 2000))
    assert total.refused and total.holds and total.chunks > total.refused


def test_the_last_line_has_the_figures_of_the_issue():
    total = fuzz.run_shard((0, 0, 50))
    total.add(fuzz.run_shard((0, 1, 50)))
    figures = fuzz.summary(total)
    assert list(figures) == ["commands", "excess", "workspace_mm", "reflexes"]
    assert figures["commands"] == 100 and np.isfinite(figures["excess"])
    assert fuzz.table(total).count("\n") > 15


def test_kept_shards_come_back_as_they_were_and_are_of_one_state_of_the_code(tmp_path, monkeypatch):
    file, tally = tmp_path / "kept.jsonl", fuzz.run_shard((0, 1, 50))
    fuzz.Kept(file, 0, 50).add(1, tally)
    with file.open("a") as lines:
        lines.write('{"shard": 2, "tal')  # killed while it wrote
    fuzz.Kept(file, 0, 50).add(2, tally)
    assert fuzz.Kept(file, 0, 50).tallies == {1: tally, 2: tally}
    monkeypatch.setattr(fuzz, "code_digest", lambda: "other")
    with pytest.raises(SystemExit, match="name another file"):
        fuzz.Kept(file, 0, 50)
