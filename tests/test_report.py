"""The report: one self-contained page from whatever a run folder holds."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from tmrl_ros.errors import DataError
from tmrl_ros.session import plots, report, runlog, summary
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Modulation


def session(episodes: int, sigma: float):
    """Episodes of three decisions, failing in the first half; returns decisions and events."""
    decisions, events = [], []
    for episode in range(episodes):
        success = episode >= episodes // 2
        for k in range(3):
            end, at = k == 2, 10.0 * episode + k
            decisions.append(
                Decision(
                    int(at * 1e9), int((at + 1) * 1e9), episode, 3 * episode + k, Mode.POLICY,
                    np.zeros((8, 4), np.float32), Modulation(np.zeros(4, np.float32), sigma * (k + 1)), 0,
                    0.0 if success and end else -1.0, success and end, end and not success, success and end, False, at,
                )
            )  # fmt: skip
        events.append(
            EpisodeEvent(0, episode, "ended", Mode.POLICY, False, success, True, 3, "time", 10.0 * episode + 3)
        )
    return decisions, events


def write_run(folder, sigma=0.1, extras=True):
    decisions, events = session(60, sigma)
    runlog.log_records(folder, "finetune", decisions + events)
    figures = dict(task="pick_cube", method="tmrl", seed=3, demos=80, updates=900, wall_s={"finetune": 20.0})
    figures |= dict(base=events[:30], training=events, final=events[30:], revision="abc<b>")
    summary.write(folder, summary.summarise(**figures))
    if extras:
        runlog.append(folder / runlog.METRICS, [{"version": v, "critic/loss": 1 / (v + 1)} for v in range(9)])
        runlog.append(folder / runlog.METRICS, [{"version": 9, "latency/policy_ms": 2.5}])
        (folder / "config.yaml").write_text("seed: 3 # <script>\n")
        (folder / "dial.json").write_text(json.dumps({"sigma": [0, 1], "spread": [0.1, 0.4], "marginal_spread": 0.4}))
        for k in range(9):
            (folder / "frames/before").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (k, 0, 0)).save(folder / f"frames/before/{k:03d}.png")
    return folder


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_a_full_run_shows_everything_and_needs_nothing_else(tmp_path):
    page = report.write_report(write_run(tmp_path)).read_text()
    assert headings(page) == [
        "Success over robot time", "One episode, before and after", "How far the dial was turned", "Is the dial alive?",
        "Returns", "Learning", "Wall time by phase",
    ]  # fmt: skip
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert page.count("data:image/png") == 6  # six of the nine pictures
    assert "2.50 ms" in page and "seed: 3 # &lt;script&gt;" in page and "abc&lt;b&gt;" in page


def test_a_summary_alone_still_makes_a_page(tmp_path):
    made = dict(task="t", method="base", seed=0, demos=0, base=[], training=[], final=[], updates=0, wall_s={})
    summary.write(tmp_path, summary.summarise(**made, revision="x"))
    page = report.write_report(tmp_path).read_text()
    assert headings(page) == [] and "not reached" in page and "n/a" in page


def test_a_method_without_sigma_has_no_dial(tmp_path):
    page = report.write_report(write_run(tmp_path, sigma=0.0, extras=False)).read_text()
    assert headings(page) == ["Success over robot time", "Returns", "Wall time by phase"]


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"summary\.json does not exist"):
        report.write_report(tmp_path)


def test_the_moving_rate_counts_the_last_twenty_episodes():
    minutes, rates = plots.rolling_success(session(60, 0.0)[1])
    assert rates[29, 0] == 0 and rates[39, 0] == 0.5 and rates[49:, 0].tolist() == [1.0] * 11
    assert (rates[:, 1] <= rates[:, 0]).all() and (rates[:, 0] <= rates[:, 2]).all()
    assert minutes[0] == pytest.approx(3 / 60)


def test_runs_are_compared_in_one_picture(tmp_path):
    runs = {"TMRL": [[(0.1 * k, k > 20) for k in range(60)]], "DSRL": [[(0.1 * k, False) for k in range(50)]]}
    plots.plot_success(runs, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 1000
