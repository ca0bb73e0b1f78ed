"""summary.json: what a run came to, from its episode events alone."""

import json
import math
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmrl_ros.errors import DataError
from tmrl_ros.types import EpisodeEvent

WINDOW = 20  # episodes of the moving success rate
Curve = list[tuple[float, bool]]
Z_95 = 1.959964  # two-sided 95 % point of the normal distribution


def wilson(successes: int, n: int) -> dict[str, Any]:
    """A success rate with its Wilson 95 % interval: {value, n, low, high}; without episodes value is None."""
    if n == 0:
        return {"value": None, "n": 0, "low": 0.0, "high": 1.0}
    rate, z2 = successes / n, Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return {"value": rate, "n": n, "low": max(0.0, centre - half), "high": min(1.0, centre + half)}


def outcomes(events: Sequence[EpisodeEvent]) -> list[EpisodeEvent]:
    """Each judged episode's last word, in the order they ended; an operator's label replaces success and counted.

    One in which a person helped is a failure of the policy, however it ended: left out, it would flatter the rest.
    """
    ended = {event.episode: event for event in events if event.kind == "ended"}
    for event in events:
        if event.kind == "labelled" and event.episode in ended:
            ended[event.episode] = replace(ended[event.episode], success=event.success, counted=event.counted)
    judged = (replace(event, success=event.achieved) for event in ended.values() if event.judged)
    return sorted(judged, key=lambda event: event.robot_time_s)


def curve(events: Sequence[EpisodeEvent]) -> Curve:
    """Robot minutes at which each judged episode ended, and whether it succeeded."""
    return [(round(event.robot_time_s / 60, 3), bool(event.success)) for event in outcomes(events)]


def success(events: Sequence[EpisodeEvent]) -> dict[str, Any]:
    """Success rate of the judged episodes, with its interval."""
    done = outcomes(events)
    return wilson(sum(event.success for event in done), len(done))


def helped(events: Sequence[EpisodeEvent]) -> int:
    """The policy's episodes in which a person took the arm: they count as its failures."""
    return sum(event.helped for event in events if event.kind == "ended")


def minutes_to(events: Sequence[EpisodeEvent], share: float) -> float | None:
    """Robot minutes at which the last WINDOW training episodes first succeed to at least `share`, or None.

    All training episodes count, exploring and greedy alike: it is what a bystander sees the robot do, not a chosen half
    of it, and it never flatters, since exploring can only cost success.
    """
    done = outcomes(events)
    for end in range(WINDOW, len(done) + 1):
        if sum(event.success for event in done[end - WINDOW : end]) >= share * WINDOW - 1e-9:
            return done[end - 1].robot_time_s / 60
    return None


def minutes_to_first(events: Sequence[EpisodeEvent]) -> float | None:
    """Robot minutes at the first success, or None: without one there is nothing to learn from."""
    return next((event.robot_time_s / 60 for event in outcomes(events) if event.success), None)


def summarise(
    *,
    task: str,
    method: str,
    seed: int,
    demos: int,
    base: Sequence[EpisodeEvent],
    training: Sequence[EpisodeEvent],
    final: Sequence[EpisodeEvent],
    updates: int,
    wall_s: dict[str, float],
    revision: str,
) -> dict[str, Any]:
    """The content of summary.json. `wall_s` is wall time by phase; "finetune" gives the real-time factor."""
    robot_s = max((event.robot_time_s for event in training), default=0.0)
    wall = wall_s.get("finetune", 0.0)
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "demos": demos,
        "base_success": success(base),
        "final_success": success(final),
        "robot_minutes": robot_s / 60,
        "robot_minutes_to_first_success": minutes_to_first(training),
        "robot_minutes_to_80": minutes_to(training, 0.80),
        "robot_minutes_to_95": minutes_to(training, 0.95),
        "episodes": len(outcomes(training)),
        "helped": helped(training),
        "real_time_factor": robot_s / wall if wall else None,
        "wall_s": wall_s,
        "decisions": sum(event.decisions for event in training if event.kind == "ended"),
        "updates": updates,
        "revision": revision,
    }


def write(run_dir: str | Path, summary: dict[str, Any]) -> None:
    temporary = Path(run_dir) / ".summary.json.tmp"
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    os.replace(temporary, Path(run_dir) / "summary.json")


def read(run_dir: str | Path) -> dict[str, Any]:
    path = Path(run_dir) / "summary.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; give the folder of a finished run") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is damaged ({error}); run the summary again") from None


def git_revision(folder: str | Path) -> str:
    """Commit of the source in `folder`, with "-dirty" where files differ from it; "unknown" outside of git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
