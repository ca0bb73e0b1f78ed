"""The figures of a report, each a function from rows (runlog.py) to a matplotlib figure."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tmrl_ros.session.summary import WINDOW, Curve, outcomes, wilson
from tmrl_ros.types import EpisodeEvent

INK, MUTED, GRID = "#1c2430", "#6b7684", "#e6e9ee"
BLUE, ORANGE, GREEN, RED = "#2563eb", "#e8710a", "#0f9d76", "#d64550"
SERIES = (BLUE, ORANGE, GREEN, "#8b5cf6", "#b4538a", "#64748b")
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#c7d9fb", "#6f9df3", "#1d4fbf"])
STYLE = {
    "font.size": 10.5,
    "axes.edgecolor": "#c5ccd6",
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "tmrl_ros",  # the same rows give the same bytes
}
plt.rcParams.update(STYLE)


def rolling_success(events: Sequence[EpisodeEvent]) -> tuple[np.ndarray, np.ndarray]:
    """Robot minutes [n] and (value, low, high) [n, 3] of the last WINDOW episodes, fewer at the start."""
    done = outcomes(events)
    minutes = np.array([event.robot_time_s / 60 for event in done])
    rows = []
    for end in range(1, len(done) + 1):
        last = done[max(0, end - WINDOW) : end]
        rate = wilson(sum(event.success for event in last), len(last))
        rows.append((rate["value"], rate["low"], rate["high"]))
    return minutes, np.array(rows).reshape(-1, 3)


def success_figure(events: Sequence[EpisodeEvent], summary: dict[str, Any]) -> Figure:
    """Success over robot minutes with its confidence band, the evaluations at both ends, every episode as a dot."""
    figure, axes = _figure(3.6)
    minutes, rates = rolling_success(events)
    end = summary["robot_minutes"] or 1.0
    axes.fill_between(minutes, rates[:, 1], rates[:, 2], color=BLUE, alpha=0.13, linewidth=0)
    axes.plot(minutes, rates[:, 0], color=BLUE, linewidth=2.2, label=f"last {WINDOW} training episodes, 95 % interval")
    for event in outcomes(events):
        x, y = event.robot_time_s / 60, 1.045 if event.success else -0.045
        axes.plot(x, y, "|", color=GREEN if event.success else RED, markersize=5, alpha=0.65)
    for name, x in (("base", -0.02 * end), ("final", 1.02 * end)):
        _evaluation(axes, x, summary[f"{name}_success"], f"{name} policy, evaluated")
    for share in (80, 95):
        at = summary[f"robot_minutes_to_{share}"]
        if at is not None:
            axes.plot([at, at], [-0.02, share / 100], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
            left = share == 80 and at > 0.2 * end  # away from the other label, which may be close
            axes.annotate(f"{share} % at {at:.0f} min", (at, 0.03), xytext=(-4 if left else 4, 0), fontsize=9,
                          textcoords="offset points", ha="right" if left else "left", color=INK)  # fmt: skip
    _percent(axes)
    axes.set(xlabel="robot minutes, resets included", ylim=(-0.09, 1.09), xlim=(-0.045 * end, 1.045 * end))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, handletextpad=0.4)
    return figure


def sigma_figure(decisions: Sequence[dict[str, Any]]) -> Figure:
    """Left: the distribution of sigma over robot time. Right: over the phase of an episode, early and late."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.1), width_ratios=(1.55, 1))
    minutes = np.array([row["robot_time_s"] / 60 for row in decisions])
    sigma = np.array([row["sigma"] for row in decisions])
    top = max(0.05, float(sigma.max()))
    time_bins, sigma_bins = np.linspace(0, max(minutes.max(), 1e-6), 41), np.linspace(0, top, 25)
    counts, _, _ = np.histogram2d(minutes, sigma, (time_bins, sigma_bins))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    left.pcolormesh(time_bins, sigma_bins, share.T, cmap=HEAT, vmin=0, vmax=max(0.25, share.max()), rasterized=True)
    centre, middle = _binned(minutes, sigma, time_bins)
    left.plot(centre, middle[:, 1], color=ORANGE, linewidth=2, label="median")
    left.legend(loc="upper right", fontsize=9)
    left.set(xlabel="robot minutes", ylabel="sigma (darker: more decisions)", ylim=(0, top), xlim=(0, time_bins[-1]))
    left.grid(False)
    _sigma_by_phase(right, decisions, sigma, top)
    return figure


def returns_figure(decisions: Sequence[dict[str, Any]]) -> Figure:
    """Return of each training episode (the sum of its rewards) over robot minutes, and its moving mean."""
    figure, axes = _figure(2.5)
    totals, ends = defaultdict(float), {}
    for row in decisions:
        totals[row["episode"]] += row["reward"]
        ends[row["episode"]] = row["robot_time_s"] / 60
    minutes, returns = np.array(list(ends.values())), np.array(list(totals.values()))
    axes.plot(minutes, returns, ".", color=BLUE, alpha=0.3, markersize=5, label="episode")
    mean = [returns[max(0, k - WINDOW + 1) : k + 1].mean() for k in range(len(returns))]
    axes.plot(minutes, mean, color=BLUE, linewidth=2, label=f"mean of {WINDOW}")
    axes.legend(loc="lower right", ncols=2, fontsize=9)
    axes.set(xlabel="robot minutes", ylabel="return")
    return figure


def metrics_figure(metrics: Sequence[dict[str, Any]], prefix: str) -> Figure:
    """Small multiples of every metric under `prefix/`, over actor versions."""
    names = sorted({name for row in metrics for name in row if name.startswith(f"{prefix}/")})
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(8.6, 1.95 * rows), squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        points = np.array([(row["version"], row[name]) for row in metrics if name in row], float)
        axes.plot(points[:, 0], points[:, 1], color=BLUE, linewidth=1.2, alpha=0.9)
        axes.set_title(name, fontsize=9.5, color=INK, loc="left")
        axes.tick_params(labelsize=8.5)
    for axes in grid[-1]:
        axes.set_xlabel("decision", fontsize=9)
    return figure


def wall_figure(wall_s: dict[str, float]) -> Figure:
    """Wall time by phase, one bar each."""
    figure, axes = _figure(0.55 + 0.36 * max(1, len(wall_s)))
    names = list(wall_s)[::-1]
    bars = axes.barh(names, [wall_s[name] for name in names], color=BLUE, height=0.55, alpha=0.85)
    axes.bar_label(bars, [_duration(wall_s[name]) for name in names], padding=5, color=INK, fontsize=9.5)
    axes.margins(x=0.12)
    axes.set_axisbelow(True)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    return figure


def dial_figure(dial: dict[str, Any]) -> Figure:
    """Whether sigma does something: the spread of the base's actions as the dial turns from precise to marginal."""
    figure, axes = _figure(2.5)
    axes.plot(dial["sigma"], dial["spread"], "o-", color=BLUE, linewidth=2, markersize=4, label="spread of the actions")
    if "coverage" in dial:
        axes.plot(dial["sigma"], dial["coverage"], "s-", color=GREEN, linewidth=2, markersize=4, label="coverage")
    if "marginal_spread" in dial:
        axes.axhline(dial["marginal_spread"], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        axes.annotate("spread of all demonstrated actions", (max(dial["sigma"]), dial["marginal_spread"]),
                      xytext=(0, 4), textcoords="offset points", ha="right", color=MUTED, fontsize=9)  # fmt: skip
    axes.legend(loc="lower right", fontsize=9)
    axes.set(xlabel="sigma", ylabel="share of the action range", ylim=(0, None))
    return figure


def plot_success(runs: dict[str, Sequence[Curve]], path: str | Path) -> None:
    """Compare methods in one picture: success over robot minutes, each run thin, each label's mean thick."""
    figure, axes = _figure(3.8)
    _success_axes(axes, runs)
    figure.savefig(path, dpi=150, facecolor="white")
    plt.close(figure)


def plot_success_grid(panels: dict[str, dict[str, Sequence[Curve]]], path: str | Path, columns: int) -> None:
    """The same, a panel for each title, row by row."""
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(6.2 * columns, 3.4 * rows), squeeze=False)
    for axes, (title, runs) in zip(grid.flat, panels.items(), strict=False):
        axes.set_title(title, loc="left", fontsize=10.5)
        if runs:
            _success_axes(axes, runs)
    figure.savefig(path, dpi=130, facecolor="white")
    plt.close(figure)


def _success_axes(axes: Axes, runs: dict[str, Sequence[Curve]]) -> None:
    for colour, (label, curves) in zip(itertools.cycle(SERIES), runs.items(), strict=False):
        grid = np.linspace(0, max(curve[-1][0] for curve in curves), 240)
        sampled = np.array([_hold(grid, *_rolling(curve)) for curve in curves])
        for row in sampled:
            axes.plot(grid, row, color=colour, linewidth=0.9, alpha=0.35)
        known = ~np.isnan(sampled).any(0)
        axes.plot(grid[known], sampled[:, known].mean(0), color=colour, linewidth=2.6, label=f"{label} ({len(curves)})")
    _percent(axes)
    axes.set(xlabel="robot minutes, resets included", ylim=(-0.03, 1.03), xlim=(0, None))
    axes.set_ylabel(f"success of the last {WINDOW} episodes")
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),  # beside the curves, so that it hides none
        fontsize=9,
        title="method (runs), mean thick",
        title_fontsize=9,
        alignment="left",
    )


def _rolling(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Minutes and success of the last WINDOW episodes, each [n]."""
    minutes, success = np.array(curve, float).T
    total = np.concatenate([[0], np.cumsum(success)])
    first = np.maximum(np.arange(1, len(total)) - WINDOW, 0)
    return minutes, (total[1:] - total[first]) / (np.arange(1, len(total)) - first)


def _figure(height: float) -> tuple[Figure, Axes]:
    return plt.subplots(figsize=(8.6, height))


def _percent(axes: Axes) -> None:
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"])
    axes.grid(axis="x", visible=False)


def _evaluation(axes: Axes, x: float, rate: dict[str, Any], label: str) -> None:
    if rate["value"] is None:
        return
    colour = ORANGE if label.startswith("base") else GREEN
    reach = np.array([[max(0.0, rate["value"] - rate["low"])], [max(0.0, rate["high"] - rate["value"])]])
    axes.errorbar(x, rate["value"], reach, fmt="o", color=colour, markersize=7, capsize=3, linewidth=1.6, label=label,
                  clip_on=False, zorder=5)  # fmt: skip


def _sigma_by_phase(axes: Axes, decisions: Sequence[dict[str, Any]], sigma: np.ndarray, top: float) -> None:
    first: dict[int, int] = {}
    for row in decisions:
        first.setdefault(row["episode"], row["decision"])
    index = np.array([row["decision"] - first[row["episode"]] for row in decisions])
    third = len(decisions) // 3
    for name, part, colour in (("first third", slice(0, third), ORANGE), ("last third", slice(-third, None), BLUE)):
        edges = np.arange(index.max() + 2) - 0.5
        at, middle = _binned(index[part], sigma[part], edges)
        axes.fill_between(at, middle[:, 0], middle[:, 2], color=colour, alpha=0.13, linewidth=0)
        axes.plot(at, middle[:, 1], "o-", color=colour, linewidth=2, markersize=3.5, label=f"{name} of training")
    axes.legend(loc="upper right", fontsize=9)
    axes.set(xlabel="decision within the episode", ylim=(0, top))


def _binned(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres [n] of the bins that hold something and the 10, 50 and 90 % quantiles of y in them [n, 3]."""
    number = np.digitize(x, edges[1:-1])
    used = np.unique(number)
    quantiles = np.array([np.quantile(y[number == k], (0.1, 0.5, 0.9)) for k in used])
    return ((edges[:-1] + edges[1:]) / 2)[used], quantiles


def _hold(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y at the last x not after each grid point; nan before the first."""
    last = np.searchsorted(x, grid, side="right") - 1
    return np.where(last >= 0, y[np.maximum(last, 0)], np.nan)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
