"""Several runs side by side: `tmrl compare`, and the tables of the benchmarks."""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tmrl_ros.session import runlog, summary
from tmrl_ros.session.plots import plot_success

HEADER = "| runs | seeds | base | final, mean (each) | robot-min to 80 %, median (each) | to 95 % | never rewarded |"


def run(folders: Iterable[Path], picture: Path) -> str:
    """Compare finished runs, grouped by what their summary calls them; writes `picture`, returns a Markdown table."""
    results: dict[str, list[dict[str, Any]]] = {}
    curves: dict[str, list[summary.Curve]] = {}
    for folder in folders:
        result = summary.read(folder)
        results.setdefault(label(result), []).append(result)
        curves.setdefault(label(result), []).append(summary.curve(runlog.episode_events(folder, "finetune")))
    plot_success(curves, picture)
    return table(results)


def label(result: Mapping[str, Any]) -> str:
    """What a run is called in a comparison."""
    return result.get("label") or f"{result['task']}, {result['method']}"


def table(groups: Mapping[str, list[dict[str, Any]]]) -> str:
    """Markdown, a row a group of summaries."""
    rule = "|" + "---|" * (HEADER.count("|") - 1)
    return "\n".join([HEADER, rule, *(_row(name, runs) for name, runs in groups.items())])


def _row(name: str, runs: list[dict[str, Any]]) -> str:
    bases = [r["base_success"]["value"] for r in runs if r["base_success"]["value"] is not None]
    finals = [r["final_success"]["value"] for r in runs if r["final_success"]["value"] is not None]
    cells = [
        name,
        str(len(runs)),
        f"{statistics.mean(bases):.2f}" if bases else "",
        f"**{statistics.mean(finals):.2f}** ({' '.join(f'{value:.2f}' for value in finals)})" if finals else "",
    ]
    if not any(r["robot_minutes"] for r in runs):  # an evaluation alone
        return f"| {' | '.join(cells)} | | | |"
    for share in (80, 95):
        each = [r[f"robot_minutes_to_{share}"] for r in runs]
        cells.append(f"{minutes(median(each))} ({' '.join(map(minutes, each))})")
    blind = sum(r["robot_minutes_to_first_success"] is None for r in runs)
    return f"| {' | '.join(cells)} | {blind} of {len(runs)} |"


def median(each: Iterable[float | None]) -> float | None:
    """Median over seeds; one that never got there counts as later than any."""
    value = statistics.median([float("inf") if m is None else m for m in each])
    return None if value == float("inf") else value


def minutes(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
