"""Do the tests of the safety limits notice when a line of them is wrong? Mutants by cosmic-ray, and branch coverage.

    .venv/bin/pip install -r requirements-bench.txt
    python benchmarks/mutants.py [--modules limits watchdog gates]

Each mutant of a module of tmrl_ros/supervisor is run, in a copy of the tree, against the tests of MODULES. Those
that survive are printed as differences: each is a line that could be wrong without a test failing. The last line is
{"mutants", "killed", "share", "branch_coverage"}.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results/mutants.md"
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


def coverage(modules: list[str], folder: Path) -> float:
    """Percent of branches."""
    tests = [MODULES[module] for module in modules]
    named = [f"--cov=tmrl_ros.supervisor.{module}" for module in modules]
    run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_cov", *tests, *named, "--cov-branch", "--cov-report=json"],
        folder,
    )
    return json.loads((folder / "coverage.json").read_text())["totals"]["percent_covered"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=list(MODULES))
    modules = parser.parse_args().modules
    text = ["| module | mutants | killed | share |", "|---|---:|---:|---:|"]
    mutants, survivors = 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        covered = coverage(modules, folder)
        for module in modules:
            count, alive = mutate(module, folder)
            mutants, survivors = mutants + count, survivors + alive
            text.append(f"| {module} | {count} | {count - len(alive)} | {1 - len(alive) / count:.3f} |")
            print(text[-1], flush=True)
    figures = {
        "mutants": mutants, "killed": mutants - len(survivors), "share": round(1 - len(survivors) / mutants, 4),
        "branch_coverage": round(covered, 2),
    }  # fmt: skip
    lives = "\n".join(f"```diff\n{diff.strip()}\n```" for diff in survivors)
    RESULTS.write_text("\n".join(text) + f"\n\nBranch coverage {covered:.1f} %. Mutants that lived:\n\n{lives}\n")
    print(f"{lives}\n{json.dumps(figures)}")


if __name__ == "__main__":
    main()
