"""A picture of a demonstration store: where the hand went, for how long, and how actions spread over an episode."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tmrl_ros.data.edit import episodes
from tmrl_ros.data.store import Demonstrations
from tmrl_ros.errors import DataError
from tmrl_ros.session.plots import BLUE, GREEN, ORANGE  # importing it sets the style

HAND = tuple(f"tcp_position_{axis}_m" for axis in "xyz")  # names of the state columns that are drawn as paths
PHASES = 50  # points over an episode at which the spread of actions is shown


def plot_demonstrations(demonstrations: Demonstrations, out: Path) -> None:
    """Write a PNG: paths from above and from the side, lengths, and the actions over the episode."""
    names = demonstrations.meta.state_names
    missing = [name for name in HAND if name not in names]
    if missing:
        raise DataError(f"The store has no state column {missing[0]}, so there is no path to draw; it has: {names}")
    hand = [names.index(name) for name in HAND]
    actions = demonstrations.meta.action_names
    figure, grid = plt.subplots(2, max(3, len(actions)), figsize=(3.1 * max(3, len(actions)), 5.6), squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    _paths(grid[0][0], demonstrations, hand[0], hand[1], "from above: x, y (m)")
    _paths(grid[0][1], demonstrations, hand[0], hand[2], "from the side: x, z (m)")
    _lengths(grid[0][2], demonstrations)
    for column, (axes, name) in enumerate(zip(grid[1], actions, strict=False)):
        _spread(axes, demonstrations, column, name)
    figure.suptitle("paths of the hand (green: start, orange: end), lengths and actions", fontsize=10)
    figure.savefig(out, dpi=110, format="png")
    plt.close(figure)


def _paths(axes: Axes, demonstrations: Demonstrations, across: int, up: int, title: str) -> None:
    for states, _ in episodes(demonstrations):
        axes.plot(states[:, across], states[:, up], color=BLUE, alpha=0.25, linewidth=0.9)
        axes.plot(*states[0, [across, up]], ".", color=GREEN, markersize=4)
        axes.plot(*states[-1, [across, up]], ".", color=ORANGE, markersize=4)
    axes.set_aspect("equal", "datalim")
    _title(axes, title)


def _lengths(axes: Axes, demonstrations: Demonstrations) -> None:
    seconds = np.diff(demonstrations.ends, prepend=0) / demonstrations.meta.action_hz
    axes.hist(seconds, bins=min(20, len(np.unique(seconds))), color=BLUE, alpha=0.8)
    _title(axes, f"{len(seconds)} episodes by length (s)")


def _spread(axes: Axes, demonstrations: Demonstrations, column: int, name: str) -> None:
    """Median and the middle 50 and 90 % of one action over the episode, 0 its first and 1 its last row."""
    phase = np.linspace(0, 1, PHASES)
    rows = [actions[np.round(phase * (len(actions) - 1)).astype(int), column]
            for _, actions in episodes(demonstrations)]  # fmt: skip
    low, quarter, middle, three_quarters, high = np.quantile(rows, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
    axes.fill_between(phase, low, high, color=BLUE, alpha=0.12, linewidth=0)
    axes.fill_between(phase, quarter, three_quarters, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(phase, middle, color=BLUE, linewidth=1.8)
    _title(axes, f"{name} over the episode")


def _title(axes: Axes, text: str) -> None:
    axes.set_visible(True)
    axes.set_title(text, fontsize=9, loc="left")
    axes.tick_params(labelsize=8.5)
