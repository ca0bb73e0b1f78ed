"""The row files of a run folder: what the summary and the report are made from, one JSON object a line.

| file | a row is | fields |
|---|---|---|
| episodes.jsonl | an episode event that ended or labelled one | `phase` and those of types.EpisodeEvent |
| decisions.jsonl | a decision | `phase`, most of types.Decision, `rows` that ran, `sigma` and `z` |
| metrics.jsonl | an actor version | `version`, then any `prefix/name`: number; `latency/*_ms` are latencies |

A phase is one session of the run: "collect", "base", "finetune" or "final".
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmrl_ros.errors import DataError
from tmrl_ros.types import Decision, EpisodeEvent, Mode

EPISODES, DECISIONS, METRICS = "episodes.jsonl", "decisions.jsonl", "metrics.jsonl"


def log_records(run_dir: str | Path, phase: str, records: Iterable[Any]) -> None:
    """Log the Decisions and EpisodeEvents among `records` (of a bag or session) as this phase, replacing older ones."""
    decisions, episodes = [], []
    for record in records:
        if isinstance(record, Decision):
            decisions.append(decision_row(phase, record))
        elif isinstance(record, EpisodeEvent) and record.kind != "started":
            episodes.append({"phase": phase, **asdict(record), "source": record.source.name})
    _replace(Path(run_dir) / DECISIONS, phase, decisions)
    _replace(Path(run_dir) / EPISODES, phase, episodes)


def decision_row(phase: str, decision: Decision) -> dict[str, Any]:
    plain = ("episode", "decision", "stamp_ns", "actor_version", "robot_time_s")
    plain += ("reward", "terminated", "truncated", "success", "greedy")
    return {
        "phase": phase,
        **{name: getattr(decision, name) for name in plain},
        "source": decision.source.name,
        "rows": len(decision.actions),
        "sigma": float(decision.modulation.sigma),
        "z": [round(float(z), 5) for z in decision.modulation.z],
    }


def episode_events(run_dir: str | Path, phase: str) -> list[EpisodeEvent]:
    """The logged events of one phase, as they were."""
    rows = [row for row in read(Path(run_dir) / EPISODES) if row["phase"] == phase]
    return [EpisodeEvent(**{**row, "source": Mode[row["source"]]}) for row in map(_without_phase, rows)]


def append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _replace(path: Path, phase: str, rows: list[dict[str, Any]]) -> None:
    others = [row for row in read(path) if row["phase"] != phase]
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    append(temporary, [*others, *rows])
    os.replace(temporary, path)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file, none if it does not exist; a line that is no JSON is a DataError with its number."""
    if not path.exists():
        return
    with path.open() as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                raise DataError(f"{path} is damaged in line {number}; delete that line or run again") from None


def _without_phase(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "phase"}
