"""`tmrl preflight`: a table of findings, and what to do about those that are not well."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tmrl_ros.nodes import preflight
from tmrl_ros.session import graph

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
NOT_READY = 2


def run(seconds: float, namespace: str, params_file: str) -> int:
    """Listen, print, and return the exit status: 0, or 2 if a session must not start like this."""
    file = str(graph.parameters_file(params_file, sim=False))
    cell = graph.sections(file)
    findings = preflight.run(cell["supervisor"], cell["franka"], cell["perception"], seconds, namespace, Path())
    table = Table("", "what", "", "to do", box=None)
    for level, what, says, do in findings:
        table.add_row(f"[{STYLES[level]}]{level}[/]", what, says, do)
    (Console() if sys.stdout.isatty() else Console(width=200)).print(table)
    failed = [finding.what for finding in findings if finding.level == "fail"]
    print(f"not ready: {', '.join(failed)}" if failed else "ready")
    return NOT_READY if failed else 0
