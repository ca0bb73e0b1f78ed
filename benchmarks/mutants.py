"""Do the tests of the safety limits notice when a line of them is wrong? Mutants by cosmic-ray, and branch coverage.

    .venv/bin/pip install -r requirements-bench.txt
    python benchmarks/mutants.py [--modules limits watchdog gates]

Each mutant of a module of tmrl_ros/supervisor is run, in a copy of the tree, against the tests of MODULES. Those
that survive are printed as differences: each is a line that could be wrong without a test failing. Modules that are not
run keep their rows, which say if a module has changed since. The last line is {"mutants", "killed", "share",
"branch_coverage"}, of all rows.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results/mutants.json"
MODULES = {  # module of tmrl_ros/supervisor: tests that are to notice
    "limits": "tests/supervisor/test_limits.py",
    "watchdog": "tests/supervisor/test_watchdog.py",
    "gates": "tests/supervisor/test_gates.py",
}
CONFIG = """
[cosmic-ray]
module-path = "tmrl_ros/supervisor/{module}.py"
timeout = 60.0
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/ReplaceBinaryOperator_BitOr_.*"]
"""


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading them takes longer than the tests
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def copy_tree(folder: Path) -> None:
    """What is tracked, as it is now: mutants are written into the copy."""
    for name in run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], ROOT).splitlines():
        if name.startswith(("tmrl_ros/", "tests/supervisor/", "pyproject", "setup")) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def mutate(module: str, folder: Path) -> tuple[int, list[str]]:
    """Number of mutants, and the differences of those that no test noticed."""
    config, session = folder / f"{module}.toml", folder / f"{module}.sqlite"
    config.write_text(CONFIG.format(module=module, tests=MODULES[module], python=sys.executable))
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    run([*tool, "init", config.name, session.name], folder)
    run([sys.executable, "-m", "cosmic_ray.tools.filters.operators_filter", session.name, config.name], folder)
    run([*tool, "exec", config.name, session.name], folder)
    records = [json.loads(line) for line in run([*tool, "dump", session.name], folder).splitlines()]
    done = [result for _, result in records if result and result["worker_outcome"] == "normal"]
    return len(done), [result["diff"] for result in done if result["test_outcome"] == "survived"]


def coverage(module: str, folder: Path) -> float:
    """Percent of lines and branches."""
    named = f"--cov=tmrl_ros.supervisor.{module}"
    plugin = ["-p", "pytest_cov", named, "--cov-branch", "--cov-report=json"]
    run([sys.executable, "-m", "pytest", "-q", MODULES[module], *plugin], folder)
    return json.loads((folder / "coverage.json").read_text())["totals"]["percent_covered"]


def source(module: str) -> str:
    """Names what was mutated."""
    return hashlib.sha256((ROOT / f"tmrl_ros/supervisor/{module}.py").read_bytes()).hexdigest()[:16]


def report(rows: dict[str, dict]) -> tuple[str, dict[str, float]]:
    """The text of the table, and the figures of all rows."""
    text = ["| module | mutants | killed | share | branch coverage, % | |", "|---|---:|---:|---:|---:|---|"]
    for module, row in rows.items():
        killed = row["mutants"] - len(row["survivors"])
        since = "" if row["source"] == source(module) else "changed since"
        share = f"{killed / row['mutants']:.3f}"
        text.append(f"| {module} | {row['mutants']} | {killed} | {share} | {row['branch_coverage']:.1f} | {since} |")
    survivors = [diff.strip() for row in rows.values() for diff in row["survivors"]]
    text += ["", "Mutants that lived:", "", *(f"```diff\n{diff}\n```" for diff in survivors)]
    mutants = sum(row["mutants"] for row in rows.values())
    return "\n".join(text) + "\n", {
        "mutants": mutants,
        "killed": mutants - len(survivors),
        "share": round(1 - len(survivors) / mutants, 4),
        "branch_coverage": round(min(row["branch_coverage"] for row in rows.values()), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="*", choices=MODULES, default=list(MODULES), help="none: the report alone")
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        for module in parser.parse_args().modules:
            row = {"source": source(module), "branch_coverage": coverage(module, folder)}
            row["mutants"], row["survivors"] = mutate(module, folder)
            rows[module] = row
            print(f"{module}: {len(row['survivors'])} of {row['mutants']} lived", flush=True)
    text, figures = report({module: rows[module] for module in MODULES if module in rows})
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(text)
    print(f"{text}{json.dumps(figures)}")


if __name__ == "__main__":
    main()
