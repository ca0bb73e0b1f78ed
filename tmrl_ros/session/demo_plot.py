"""Pictures of a demonstration store: all of it (paths, lengths, how actions spread), and one episode that moves."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from tmrl_ros.data.edit import episodes
from tmrl_ros.data.store import Demonstrations
from tmrl_ros.errors import DataError
from tmrl_ros.session.plots import BLUE, GREEN, ORANGE  # importing it sets the style

HAND = tuple(f"tcp_position_{axis}_m" for axis in "xyz")  # names of the state columns that are drawn as paths
FILM_HEIGHT_PX = 320
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


def film_episode(demonstrations: Demonstrations, episode: int, out: Path) -> None:
    """Write one episode, from 0, as a GIF in its own time: its images, or the drawn path where the store has none."""
    ends = demonstrations.ends.tolist()
    if not 0 <= episode < len(ends):
        raise DataError(f"There is no episode {episode}; valid: 0 to {len(ends) - 1}")
    rows = range(ends[episode - 1] if episode else 0, ends[episode])
    first, *rest = (_seen if demonstrations.images else _drawn)(demonstrations, rows)
    buffer = io.BytesIO()
    frame_ms = round(1000 / demonstrations.meta.action_hz)
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=frame_ms, loop=0)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, out)


def _seen(demonstrations: Demonstrations, rows: range) -> Iterator[Image.Image]:
    """What the cameras saw, side by side; in the palette of a GIF, so that a long episode is small in memory."""
    for row in rows:
        views = [Image.fromarray(images[np.array([row])][0]) for images in demonstrations.images.values()]
        views = [view.resize((view.width * FILM_HEIGHT_PX // view.height, FILM_HEIGHT_PX)) for view in views]
        frame = Image.new("RGB", (sum(view.width for view in views), FILM_HEIGHT_PX))
        for number, view in enumerate(views):
            frame.paste(view, (sum(other.width for other in views[:number]), 0))
        yield frame.quantize()


def _drawn(demonstrations: Demonstrations, rows: range) -> Iterator[Image.Image]:
    """The hand on its path where the store has positions of one, and the rows of states and actions."""
    here, names = slice(rows.start, rows.stop), demonstrations.meta.state_names
    states, actions = demonstrations.states[here], demonstrations.actions[here]
    hand = states[:, [names.index(name) for name in HAND]] if set(HAND) <= set(names) else None
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, FILM_HEIGHT_PX / 100), dpi=100)
    seconds = np.arange(len(rows)) / demonstrations.meta.action_hz
    if hand is None:
        left.plot(seconds, states, linewidth=1)
        _title(left, "states over time (s)")
    else:
        left.plot(hand[:, 0], hand[:, 2], color=BLUE, alpha=0.3)
        left.set_aspect("equal", "datalim")
        _title(left, "the hand from the side: x, z (m)")
    right.plot(seconds, actions, linewidth=1, label=demonstrations.meta.action_names)
    right.legend(fontsize=8)
    _title(right, "actions over time (s)")
    marks = [axes.axvline(0, color=ORANGE) for axes in ([right] if hand is not None else [left, right])]
    dot = left.plot(*(hand[0, [0, 2]] if hand is not None else (0, 0)), "o", color=ORANGE, visible=hand is not None)[0]
    for k, second in enumerate(seconds):
        for mark in marks:
            mark.set_xdata([second, second])
        if hand is not None:
            dot.set_data(*hand[k, [0, 2], None])
        figure.canvas.draw()
        yield Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize()
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
