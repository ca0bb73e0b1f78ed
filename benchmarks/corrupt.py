"""Damaged and hostile inputs of every kind that we read: is each refused with a sentence, or recovered with its loss?

    python benchmarks/corrupt.py [--quick] [--each N] [--seed S] [--only KIND] [--show]

Small sound inputs (tests/faults/corpus_kinds.py) are spoiled by a seed (tests/faults/corpus.py): cut, bits flipped,
files swapped, lengths made huge, types changed, nested deeply, swelling, pickles and YAML that would leave a file.
A process with little memory and little time reads each as our commands do. What came of it:

| outcome | |
|---|---|
| refused | a TmrlError of one line |
| recovered | what was read is part of the sound content, in its order, and the loss was said |
| unchanged | what was read is the sound content: the damage was in nothing that is read |
| wrong | something else was read |
| traceback | any other exception, a crash, too much time |
| executed | the canary file was there afterwards |

The last line is {"inputs", "refused", "recovered", "unchanged", "wrong", "tracebacks", "executed"}. With --quick a few
of each kind and no report; else benchmarks/results/corrupt.md is written.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import platform
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

OUTCOMES = ("refused", "recovered", "unchanged", "wrong", "traceback", "executed")
EACH, QUICK = 40, 6  # inputs of a kind
MORE_BYTES = 2**30  # that a reader may ask for beyond what it has after its imports
READ_S = 20
RESULT = ROOT / "benchmarks" / "results" / "corrupt.md"


class Judged(NamedTuple):
    kind: str
    number: int
    spoiler: str
    outcome: str
    said: str


# ---- the process that reads -----------------------------------------------------------------------------------------


def serve(pipe, canary: str) -> None:
    """Answers (kind, folder) with (content, stated loss, exception, what it says)."""
    os.environ["TMRL_CANARY"] = canary
    warnings.simplefilter("ignore")
    import corpus_kinds

    kinds = {kind.name: kind for kind in corpus_kinds.KINDS}
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MORE_BYTES, size + MORE_BYTES))
    signal.signal(signal.SIGALRM, _too_long)
    while job := pipe.recv():
        name, folder = job
        signal.alarm(READ_S)
        try:
            answer = (*kinds[name].read(Path(folder)), "", "")
        except Exception as error:
            answer = ([], "", _class_of(error), str(error) if _is_ours(error) else traceback.format_exc())
        signal.alarm(0)
        pipe.send(answer)


def _too_long(*_):
    raise TimeoutError(f"not read within {READ_S} s")


def _is_ours(error: Exception) -> bool:
    from tmrl_ros.errors import TmrlError

    return isinstance(error, TmrlError)


def _class_of(error: Exception) -> str:
    return "TmrlError" if _is_ours(error) else type(error).__name__


class Reader:
    """A process that reads, and another one where it crashes."""

    def __init__(self, canary: Path):
        self._canary, self._process = canary, None

    def read(self, kind: str, folder: Path):
        if self._process is None:
            spawn = multiprocessing.get_context("spawn")
            self._pipe, there = spawn.Pipe()
            self._process = spawn.Process(target=serve, args=(there, str(self._canary)), daemon=True)
            self._process.start()
            there.close()
        self._pipe.send((kind, str(folder)))
        try:
            if self._pipe.poll(10 * READ_S):
                return self._pipe.recv()
            said = "no answer"
        except EOFError:
            said = "the process crashed"
        self.close()
        return [], "", "Crash", said

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


# ---- what came of it ------------------------------------------------------------------------------------------------


def judge(each: int, seed: int, scratch: Path, only: str = "") -> Iterator[Judged]:
    """`each` inputs of every kind, read and judged, in an order that the seed decides."""
    canary = scratch / "canary"
    os.environ["TMRL_CANARY"] = str(canary)
    import corpus_kinds

    reader = Reader(canary)
    try:
        for kind in corpus_kinds.KINDS:
            if only in ("", kind.name):
                yield from _judge_kind(kind, each, seed, scratch, reader)
    finally:
        reader.close()


def _judge_kind(kind, each: int, seed: int, scratch: Path, reader: Reader) -> Iterator[Judged]:
    sound = scratch / "sound"
    sound.mkdir()
    kind.make(sound)
    folder = scratch / "input"
    shutil.copytree(sound, folder)
    whole, stated, exception, said = reader.read(kind.name, folder)
    shutil.rmtree(folder)
    if exception or stated:
        raise SystemExit(f"a sound {kind.name} cannot be read: {said}{stated}")
    for number in range(each):
        rng = np.random.default_rng([seed, number])
        spoiler = _spoiler(kind, number)
        shutil.copytree(sound, folder)
        spoiler(folder, rng)
        outcome, said = _outcome(whole, *reader.read(kind.name, folder))
        if (canary := Path(os.environ["TMRL_CANARY"])).exists():
            outcome = "executed"
            canary.unlink()
        shutil.rmtree(folder)
        yield Judged(kind.name, number, spoiler.__name__, outcome, said)
    shutil.rmtree(sound)


def _spoiler(kind, number: int):
    """The kind's own and the general ones in turns, so that few inputs, too, are of many sorts."""
    sorts = [sort for sort in (kind.own, kind.general) if sort]
    turn = sorts[number % len(sorts)]
    return turn[number // len(sorts) % len(turn)]


def _outcome(whole, content, stated, exception, said) -> tuple[str, str]:
    if exception == "TmrlError":
        return ("refused" if "\n" not in said and len(said) < 2000 else "traceback"), said
    if exception:
        return "traceback", f"{exception}: {said}"
    if content == whole:
        return "unchanged", stated
    return ("recovered" if stated and _is_part(content, whole) else "wrong"), stated


def _is_part(content: list[str], whole: list[str]) -> bool:
    """Whether `content` is `whole` with parts left out."""
    rest = iter(whole)
    return all(entry in rest for entry in content)


def result(judged: list[Judged]) -> dict[str, int]:
    counts = Counter(entry.outcome for entry in judged)
    named = {"tracebacks" if outcome == "traceback" else outcome: counts[outcome] for outcome in OUTCOMES}
    return {"inputs": len(judged), **named}


def table(judged: list[Judged]) -> list[str]:
    lines = [f"| kind | inputs | {' | '.join(OUTCOMES)} |", "|" + "---|" * (len(OUTCOMES) + 2)]
    for kind in dict.fromkeys(entry.kind for entry in judged):
        counts = Counter(entry.outcome for entry in judged if entry.kind == kind)
        cells = (str(counts[outcome]) for outcome in OUTCOMES)
        lines.append(f"| {kind} | {counts.total()} | {' | '.join(cells)} |")
    return lines


def report(judged: list[Judged], options: argparse.Namespace) -> str:
    command = f"python benchmarks/corrupt.py --each {options.each} --seed {options.seed}"
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    spoilers = Counter(entry.spoiler for entry in judged)
    wrong = [
        f"- {e.kind}, input {e.number} ({e.spoiler}): {e.outcome} {e.said}".rstrip() for e in judged if e.outcome in BAD
    ]
    parts = [
        "# Damaged and hostile inputs",
        f"`{command}`, {machine}. What the outcomes mean: `benchmarks/corrupt.py`.",
        "\n".join(table(judged)),
        "What was done to them: "
        + ", ".join(
            f"{name.strip('_').replace('_', ' ')} {count}"
            for name, count in sorted(spoilers.items(), key=lambda entry: entry[0].strip("_"))
        )
        + ".",
        "A bag in SQLite has no checksum, so a changed bit within a message cannot be seen; `tmrl data check` says so. "
        "A configuration that is written by hand has none either: here it is given values that none may have.",
        "\n".join(["Not as wanted:", "", *wrong]) if wrong else "",
        f"    {json.dumps(result(judged))}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


BAD = ("wrong", "traceback", "executed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} of each kind")
    parser.add_argument("--each", type=int, default=EACH, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one kind")
    parser.add_argument("--show", action="store_true", help="print what each reader said")
    options = parser.parse_args()
    options.each = QUICK if options.quick else options.each
    judged = []
    with tempfile.TemporaryDirectory() as scratch:
        for entry in judge(options.each, options.seed, Path(scratch), options.only):
            judged.append(entry)
            if options.show or entry.outcome in BAD:
                print(f"{entry.kind} {entry.number} {entry.spoiler}: {entry.outcome}: {entry.said[:1500]}", flush=True)
    print("\n".join(table(judged)))
    if not (options.quick or options.only):
        RESULT.write_text(report(judged, options))
    print(json.dumps(result(judged)))


if __name__ == "__main__":
    main()
