"""report.html: one self-contained page that shows what an hour of fine-tuning did.

Reads from the run folder, and leaves out what is not there:

| file | content |
|---|---|
| summary.json | summary.summarise; the only one that must exist |
| episodes.jsonl, decisions.jsonl, metrics.jsonl | rows of runlog.py; metrics are grouped by prefix |
| config.yaml | the resolved configuration, shown as it is |
| dial.json | {"sigma": [n], "spread": [n]}, optionally "coverage": [n] and "marginal_spread": number |
| frames/before/*.png, frames/after/*.png | pictures of one episode of the base and of the final policy, in order |
| frames/seen/*.png | the first start as perception sees it, with the camera as calibrated and as moved |

The dial check is in shares of the action range: `spread` is the standard deviation of chunks sampled at one
observation, `coverage` how much of the demonstrated range they reach, `marginal_spread` that of all demonstrations.
"""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tmrl_ros.session import plots, runlog, summary

STRIP = 6  # pictures of an episode


def write_report(run_dir: str | Path) -> Path:
    """Write run_dir/report.html from the files beside it and return its path."""
    run_dir = Path(run_dir)
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": _percent, "minutes": _minutes}
    page = run_dir / "report.html"
    page.write_text(templates.get_template("report.html").render(_content(run_dir)))
    return page


def _content(run_dir: Path) -> dict[str, Any]:
    result = summary.read(run_dir)
    training = runlog.episode_events(run_dir, "finetune")
    decisions = [row for row in runlog.read(run_dir / runlog.DECISIONS) if row["phase"] == "finetune"]
    metrics = list(runlog.read(run_dir / runlog.METRICS))
    dial, config = run_dir / "dial.json", run_dir / "config.yaml"
    steered = any(row["sigma"] > 0 for row in decisions)
    return {
        "name": run_dir.resolve().name,
        "summary": result,
        "success": _picture(plots.success_figure(training, result)) if training else None,
        "strips": {when: _strip(run_dir / "frames" / when) for when in ("before", "after", "seen")},
        "sigma": _picture(plots.sigma_figure(decisions)) if steered else None,
        "dial": _picture(plots.dial_figure(json.loads(dial.read_text()))) if dial.exists() else None,
        "returns": _picture(plots.returns_figure(decisions)) if decisions else None,
        "metrics": _metrics(metrics),
        "latencies": _latencies(metrics),
        "wall": _picture(plots.wall_figure(result["wall_s"])) if result["wall_s"] else None,
        "config": config.read_text() if config.exists() else None,
    }


def _metrics(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    prefixes = dict.fromkeys(name.split("/")[0] for row in rows for name in row if "/" in name)
    return {prefix.capitalize(): _picture(plots.metrics_figure(rows, prefix)) for prefix in prefixes}


def _latencies(rows: Sequence[dict[str, Any]]) -> list[tuple[str, float, float, float]]:
    """(name, median, 99 % quantile, largest) in ms of every latency that was logged."""
    names = sorted({name for row in rows for name in row if name.startswith("latency/")})
    values = {name: np.array([row[name] for row in rows if name in row]) for name in names}
    return [
        (name.removeprefix("latency/").removesuffix("_ms").replace("_", " "), *map(float, _summary_of(value)))
        for name, value in values.items()
    ]


def _summary_of(values: np.ndarray) -> tuple[float, float, float]:
    return float(np.median(values)), float(np.quantile(values, 0.99)), float(values.max())


def _picture(figure: Figure) -> str:
    """The figure as a data URI; SVG, so it is sharp at any size and needs no file beside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return _data_uri("image/svg+xml", buffer.getvalue())


def _strip(folder: Path) -> list[str]:
    """At most STRIP pictures of an episode, evenly spread, the last one included."""
    files = sorted(folder.glob("*.png"))
    chosen = sorted({round(at) for at in np.linspace(0, len(files) - 1, STRIP)}) if files else []
    return [_data_uri("image/png", files[k].read_bytes()) for k in chosen]


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.0f} %"


def _minutes(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1f} min"
