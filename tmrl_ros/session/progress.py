"""Shows a person how a session or a training is going: robot minutes or episodes, rolling success, speed; losses."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tmrl_ros.session.graph import Kind, SessionOptions
from tmrl_ros.types import SessionStatus

EVERY = 50  # updates between two looks at their metrics
LINE_EVERY_S = 30.0  # wall time, where the output is no terminal


@contextmanager
def update_progress(title: str, total: int, key: str = "critic/loss") -> Iterator[Callable[[int, dict], None]]:
    """A bar for a loop of updates; call it with the number of each and its metrics, of which it shows `key`."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[say]}")
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task(title, total=total, say="")

        def show(update: int, info: dict) -> None:
            if update % EVERY == 0 or update == total:
                bar.update(task, completed=update, say=f"{key.partition('/')[2]} {float(info[key]):.3f}")

        yield show


class SessionProgress:
    """A context; call it with each SessionStatus. On a terminal a live bar, elsewhere a line now and then."""

    def __init__(self, kind: Kind, options: SessionOptions, console: Console | None = None):
        self._console = console or Console()
        self._kind, self._by_time = kind, kind == "finetune"
        self._total = options.minutes if self._by_time else options.episodes
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[say]}")
        self._bar = Progress(
            *columns, TimeElapsedColumn(), console=self._console, disable=not self._console.is_terminal
        )
        self._task = self._bar.add_task(kind, total=self._total, say="starting")
        self._started_s = self._first_s = self._line_s = time.monotonic()
        self._first_robot_s: float | None = None

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()

    def __call__(self, status: SessionStatus) -> None:
        now_s = time.monotonic()
        if self._first_robot_s is None:
            self._first_robot_s, self._first_s = status.robot_time_s, now_s
        done = status.robot_time_s / 60 if self._by_time else status.episodes
        factor = (status.robot_time_s - self._first_robot_s) / max(now_s - self._first_s, 1e-9)
        say = sentence(status, factor)
        self._bar.update(self._task, completed=min(done, self._total), say=say)
        if not self._console.is_terminal and now_s - self._line_s > LINE_EVERY_S:
            self._line_s = now_s
            self._console.print(
                f"{self._kind} {100 * done / self._total:.0f} %: {say}", highlight=False, soft_wrap=True
            )

    def say(self, text: str) -> None:
        """A sentence above the bar."""
        self._bar.console.print(text, highlight=False, soft_wrap=True)


def sentence(status: SessionStatus, factor: float | None = None) -> str:
    """What a status says, in one line; `factor` is robot time over wall time."""
    parts = [
        f"{status.robot_time_s / 60:.1f} robot minutes",
        f"{status.episodes} episodes",
        f"{100 * status.recent_success:.0f} % of the last 20",
        *([f"{factor:.0f}x real time"] if factor is not None else []),
    ]
    return ", ".join(parts) + (f" - {status.mode.name}: {status.reason}" if status.reason else "")
