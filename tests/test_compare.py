import json

import pytest

from tmrl_ros.errors import DataError
from tmrl_ros.session import compare, runlog
from tmrl_ros.types import EpisodeEvent, Mode


def result(final: float, to_80: float | None, first: float | None = 1.0, **about) -> dict:
    rate = {"value": final, "n": 50, "low": 0.0, "high": 1.0}
    nothing = {"value": None, "n": 0, "low": 0.0, "high": 1.0}
    return {
        "task": "pick_cube",
        "method": "tmrl",
        "base_success": nothing,
        "final_success": rate,
        "robot_minutes": 30.0,
        "robot_minutes_to_80": to_80,
        "robot_minutes_to_95": None,
        "robot_minutes_to_first_success": first,
        **about,
    }


def test_a_seed_that_never_got_there_counts_as_later_than_any():
    assert compare.median([5.0, None, 7.0]) == 7.0
    assert compare.median([5.0, None, None]) is None


def test_the_table_shows_every_seed_and_those_that_never_found_reward():
    rows = compare.table(
        {"ours": [result(0.9, 5.0), result(0.5, None)], "theirs": [result(0.0, None, None)]}
    ).splitlines()
    assert len({row.count("|") for row in rows}) == 1
    ours, theirs = rows[2:]
    assert "**0.70** (0.90 0.50)" in ours and "(5.0 never)" in ours and ours.endswith("0 of 2 |")
    assert theirs.endswith("1 of 1 |")


def test_an_evaluation_alone_has_no_minutes():
    rows = compare.table({"base": [result(0.1, None, None, robot_minutes=0.0)]}).splitlines()
    assert rows[2].endswith("| | | |") and "never" not in rows[2]


@pytest.fixture
def folders(tmp_path):
    made = []
    for seed, method in enumerate(("tmrl", "tmrl", "dsrl")):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        events = [EpisodeEvent(k, k, "ended", Mode.POLICY, False, k > 5, True, 8, "time", 12.0 * k) for k in range(30)]
        runlog.log_records(folder, "finetune", events)
        (folder / "summary.json").write_text(json.dumps(result(0.9, 3.0, method=method)))
        made.append(folder)
    return made


def test_runs_of_one_method_stand_in_one_row_and_the_picture_is_there(folders, tmp_path):
    table = compare.run(folders, tmp_path / "out.png")
    assert [line.split("|")[1:3] for line in table.splitlines()[2:]] == [
        [" pick_cube, tmrl ", " 2 "],
        [" pick_cube, dsrl ", " 1 "],
    ]
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="finished run"):
        compare.run([tmp_path], tmp_path / "out.png")
