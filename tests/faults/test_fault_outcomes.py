"""Injected faults are kept from run to run: nothing twice, nothing lost, and the report says what was not as wanted."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from fault_outcomes import Kept, summary

KILLED = SimpleNamespace(number=1, says="policy killed", limit_ms=150.0)
PUSHED = SimpleNamespace(number=27, says="force", limit_ms=20.0)


def outcome(seed, ms=100.0, safe=True, right=True, note=""):
    return {"seed": seed, "safe": safe, "right": right, "ms": ms, "note": note, "revision": "abc", "load": 1.0}


def test_a_later_run_makes_only_what_is_missing(tmp_path):
    for seed in (0, 2):
        Kept(tmp_path).add("idle", 1, outcome(seed))
    again = Kept(tmp_path)
    assert again.missing("idle", 1, 4) == [1, 3]
    assert again.missing("loaded", 1, 2) == again.missing("idle", 27, 2) == [0, 1]


def test_an_injection_that_is_made_anew_replaces_the_old_one(tmp_path):
    kept = Kept(tmp_path)
    kept.add("idle", 1, outcome(0, ms=400.0))
    kept.add("idle", 1, outcome(0, ms=90.0))
    assert [o["ms"] for o in Kept(tmp_path).outcomes("idle")[1]] == [90.0]


def test_the_report_has_both_conditions_side_by_side_and_says_what_went_wrong(tmp_path):
    kept = Kept(tmp_path)
    for seed in range(3):
        kept.add("idle", 1, outcome(seed, 100.0 + seed))
    kept.add("loaded", 1, outcome(0, 170.0))
    kept.add("loaded", 27, outcome(7, None, right=False, note="'something else'"))
    kept.report([KILLED, PUSHED])
    text = (tmp_path / "faults.md").read_text()
    assert "| 1 | policy killed | 150 | 3 | 3 | 3 | 101 | 102 | 1 | 1 | 1 | 170 | **170** |" in text
    assert "| 27 | force |  |  |  |  |  |  | 1 | 1 | 0 |  |  |" in text
    assert "- 27, force, loaded, seed 7: not for the right reason: 'something else'" in text
    assert "loaded: 2 injections, 2 safe, 1 for the right reason" in text


def test_the_last_line_is_of_all_that_is_kept():
    outcomes = {1: [outcome(0, 100.0), outcome(1, 140.0, safe=False)], 27: [outcome(0, 7.0)], 46: [outcome(0, None)]}
    said = summary(outcomes, {1: "silence", 27: "bad", 46: "starts"})
    assert said["injected"] == 4 and said["safe"] == 0.75 and said["right_reason"] == 1.0
    assert said["hold_p99_bad_ms"] == 7.0 and 139 < said["hold_p99_silence_ms"] <= 140


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = Kept(None)
    kept.add("idle", 1, outcome(0))
    assert "policy killed" in kept.report([KILLED]) and not list(tmp_path.iterdir())


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """(a campaign of 3 injections, the sessions it started); the second injection of each fault raises."""
    pytest.importorskip("rclpy")
    import faults

    sessions = []

    def running(folder, **options):
        sessions.append(options)
        return nullcontext(len(sessions))

    def injected(rig, fault, seed):
        if seed == 1:
            raise TimeoutError("waited 60 s")
        return {"safe": True, "right": True, "ms": 1.0, "note": ""}

    monkeypatch.setattr(faults, "Running", running)
    monkeypatch.setattr(faults, "injected", injected)
    return faults.Campaign(Kept(tmp_path), "idle", 3, revision="abc"), sessions, faults.FAULTS[:2]


def test_one_that_raises_is_kept_as_a_miss_and_the_others_go_on_in_a_new_session(campaign, tmp_path):
    campaign, sessions, some = campaign
    campaign.in_sessions({}, some)
    kept = json.loads((tmp_path / "faults.json").read_text())["idle"]
    assert [[o["safe"] for o in kept[str(fault.number)]] for fault in some] == 2 * [[True, False, True]]
    assert kept[str(some[0].number)][1]["note"] == "TimeoutError: waited 60 s" and len(sessions) == 3


def test_a_budget_ends_between_two_injections(campaign):
    campaign, _, some = campaign
    campaign.more = lambda: not campaign.kept.outcomes("idle").get(some[0].number)
    campaign.in_sessions({}, some)
    assert campaign.kept.missing("idle", some[0].number, 3) == [1, 2]


def test_sessions_that_do_not_start_leave_their_faults_to_another_run(campaign, monkeypatch):
    campaign, _, some = campaign
    tried = []

    def fails(folder, **options):
        tried.append(folder)
        raise TimeoutError("no session")

    monkeypatch.setattr(sys.modules["faults"], "Running", fails)
    campaign.in_sessions({}, some)
    assert len(tried) == 3 and not campaign.kept.outcomes("idle")
