"""What injected faults came to, kept from run to run: faults.json, and the report that is rebuilt from it.

    {"idle" or "loaded": {number of the fault: [outcome by seed]}}

An outcome is {"seed", "safe", "right", "ms", "note", "revision", "load"}: ms is None where nothing has to hold, note
says what was not as wanted, load is the machine's of the last minute. The seed is the injection's index.
"""

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

CONDITIONS = ("idle", "loaded")
HEAD = ("made", "safe", "right reason", "ms, p50", "p99")
SHARES = {"safe": "safe", "right_reason": "right"}  # of the summary: the keys of an outcome
MISSED = {"safe": "not safe", "right": "not for the right reason"}
Outcomes = dict[int, list[dict]]  # by number of the fault


class Kept:
    """faults.json and faults.md in `folder`; without one everything lasts as long as the process."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        file = folder / "faults.json" if folder else None
        kept = json.loads(file.read_text()) if file and file.exists() else {}
        self._of: dict[str, dict[int, dict[int, dict]]] = {  # condition -> fault -> seed -> outcome
            condition: {int(n): {o["seed"]: o for o in some} for n, some in kept.get(condition, {}).items()}
            for condition in CONDITIONS
        }

    def missing(self, condition: str, number: int, count: int) -> list[int]:
        """Seeds of 0 .. count - 1 that were not injected yet."""
        return [seed for seed in range(count) if seed not in self._of[condition].get(number, {})]

    def add(self, condition: str, number: int, outcome: dict) -> None:
        """In place of the same injection's, if there is one."""
        self._of[condition].setdefault(number, {})[outcome["seed"]] = outcome
        self._write("faults.json", json.dumps({c: self.outcomes(c) for c in CONDITIONS}, separators=(",", ":")) + "\n")

    def outcomes(self, condition: str) -> Outcomes:
        return {n: [some[seed] for seed in sorted(some)] for n, some in sorted(self._of[condition].items())}

    def report(self, faults: Iterable) -> str:
        """As faults.md has it from now on; of each fault `number`, `says` and `limit_ms` are read."""
        text = report(list(faults), {condition: self.outcomes(condition) for condition in CONDITIONS})
        self._write("faults.md", text)
        return text

    def _write(self, name: str, text: str) -> None:
        """A cut leaves the old file or the new one."""
        if not self.folder:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{name}.partial"
        partial.write_text(text)
        partial.replace(self.folder / name)


def revision() -> str:
    """Of the code as it is now; with a + where the working tree, less the results, holds more than its last commit."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", ":/", ":(top,exclude)benchmarks/results"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed else "")


def summary(outcomes: Outcomes, kinds: dict[int, str]) -> dict:
    every = [o for some in outcomes.values() for o in some]

    def p99(kind: str) -> float | None:
        times = _times([o for number, some in outcomes.items() if kinds.get(number) == kind for o in some])
        return round(float(np.percentile(times, 99)), 1) if times else None

    return {
        "injected": len(every),
        **{name: round(sum(o[key] for o in every) / max(1, len(every)), 4) for name, key in SHARES.items()},
        "hold_p99_bad_ms": p99("bad"),
        "hold_p99_silence_ms": p99("silence"),
    }


def row(fault, *conditions: list[dict]) -> str:
    """Of a fault, the figures of each condition; a p99 beyond what is wanted in bold."""
    timed = any(_times(outcomes) for outcomes in conditions)
    cells = [fault.number, fault.says, f"{fault.limit_ms:g}" if timed else ""]
    for outcomes in conditions:
        times = _times(outcomes)
        p50, p99 = (float(np.percentile(times, q)) if times else None for q in (50, 99))
        sums = [sum(o[key] for o in outcomes) for key in ("safe", "right")] if outcomes else ["", ""]
        late = p99 is not None and p99 > fault.limit_ms
        cells += [len(outcomes) or "", *sums, _ms(p50), f"**{_ms(p99)}**" if late else _ms(p99)]
    return "| " + " | ".join(map(str, cells)) + " |"


def table(faults: list, by_condition: dict[str, Outcomes]) -> str:
    heads = [f"{condition}: {HEAD[0]}" if name == HEAD[0] else name for condition in by_condition for name in HEAD]
    lines = [f"| # | fault | wanted, ms | {' | '.join(heads)} |", "|" + "---|" * (3 + len(heads))]
    for fault in faults:
        some = [outcomes.get(fault.number, []) for outcomes in by_condition.values()]
        if any(some):
            lines.append(row(fault, *some))
    return "\n".join(lines)


def report(faults: list, by_condition: dict[str, Outcomes]) -> str:
    named = {fault.number: fault.says for fault in faults}
    conditions, notes = [], []
    for condition, outcomes in by_condition.items():
        every = [o for some in outcomes.values() for o in some]
        if not every:
            continue
        loads, made = [o["load"] for o in every], Counter(o["revision"] for o in every)
        safe, right = (sum(o[key] for o in every) for key in SHARES.values())
        conditions.append(
            f"- {condition}: {len(every)} injections, {safe} safe, {right} for the right reason; the load was "
            f"{np.median(loads):.1f} (median, at most {max(loads):.1f}); made at "
            + ", ".join(f"{revision} ({count})" for revision, count in made.items())
        )
        notes += [
            f"- {number}, {named.get(number, '')}, {condition}, seed {o['seed']}: "
            f"{' and '.join(said for key, said in MISSED.items() if not o[key])}: {o['note']}"
            for number, some in outcomes.items()
            for o in some
            if not (o["safe"] and o["right"])
        ]
    parts = [
        "# Faults injected into real processes",
        f"`python benchmarks/faults.py`, idle and with `--loaded`, at `nice -n -10`, on {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}; made in parts, all of them in faults.json. "
        "Bold: a p99 beyond what is wanted.",
        "\n".join(conditions),
        table(faults, by_condition),
        "\n".join(["What was not as wanted:", "", *notes]) if notes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _times(outcomes: list[dict]) -> list[float]:
    return [o["ms"] for o in outcomes if o["ms"] is not None]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
