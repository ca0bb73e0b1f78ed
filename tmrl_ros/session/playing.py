"""`tmrl up replay`: a bag played into some nodes, and what they made of it beside what was recorded."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tmrl_ros.session import graph, starter
from tmrl_ros.session.arguments import parse

Compared = dict[str, dict[str, int]]  # by topic: messages both, equal, only recorded, only published


def run(words: Sequence[str]) -> bool:
    """Play as the NAME:=VALUE `words` say, print the comparison, and return whether nothing differs."""
    options = parse(words, graph.ReplayOptions)
    specs = graph.build_replay(options)
    folder = Path(options.run_dir)
    comparison = folder / graph.COMPARISON
    comparison.unlink(missing_ok=True)
    starter.run_session(specs, folder, namespace=options.namespace)
    found = json.loads(comparison.read_text())
    print(f"{sum(found['played'].values())} messages of {len(found['played'])} topics were played")
    if found["compared"]:
        Console().print(table(found["compared"]))
    return same(found["compared"])


def same(compared: Compared) -> bool:
    """Whether the nodes published all that was recorded, and the same."""
    return all(counts["equal"] == counts["both"] and not counts["only recorded"] for counts in compared.values())


def table(compared: Compared) -> Table:
    out = Table("topic", "equal", "differ", "only recorded", "only published")
    for name, counts in compared.items():
        differ = counts["both"] - counts["equal"]
        out.add_row(name, *map(str, (counts["equal"], differ, counts["only recorded"], counts["only published"])))
    return out
