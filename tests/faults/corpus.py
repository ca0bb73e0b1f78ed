"""Damaged and hostile inputs: small sound ones of each kind that we read, and what is done to them, by a seed.

An input is a folder. SPOILERS work on the bytes of one of its files; what is special to a kind is in corpus_kinds.py.
"""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

Spoiler = Callable[[Path, np.random.Generator], None]
CANARY = "TMRL_CANARY"  # environment variable: the file that unpickling a hostile input would make
DEEP = 100_000


class Canary:
    """Unpickled, or built by YAML, it would leave a file behind."""

    def __reduce__(self):
        return os.system, (f"touch {os.environ[CANARY]}",)


def hostile_pickle() -> bytes:
    return pickle.dumps(Canary())


def hostile_yaml() -> str:
    return f'!!python/object/apply:os.system ["touch {os.environ[CANARY]}"]'


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _one(folder: Path, rng: np.random.Generator) -> Path:
    """A file that is not empty; large ones are as likely as small ones."""
    there = [path for path in files(folder) if path.stat().st_size]
    return there[rng.integers(len(there))]


def cut(folder, rng):
    file = _one(folder, rng)
    size = file.stat().st_size
    os.truncate(file, int(rng.choice([0, size // 2, size - 1, rng.integers(size)])))


def flip(folder, rng):
    file = _one(folder, rng)
    data = bytearray(file.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    file.write_bytes(data)


def burst(folder, rng):
    """A sector that the disk lost."""
    file = _one(folder, rng)
    data = bytearray(file.read_bytes())
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 512))
    data[at : at + length] = bytes([int(rng.choice([0, 255]))]) * len(data[at : at + length])
    file.write_bytes(data)


def huge_length(folder, rng):
    """A number that would ask for more memory than there is, wherever it happens to land."""
    file = _one(folder, rng)
    data, width = bytearray(file.read_bytes()), int(rng.choice([4, 8]))
    at = int(rng.integers(max(1, min(len(data), 256) - width)))
    data[at : at + width] = (2 ** (8 * width - 2) + 7).to_bytes(width, "little")
    file.write_bytes(data)


def doubled(folder, rng):
    file = _one(folder, rng)
    file.write_bytes(file.read_bytes() * 2)


def garbage(folder, rng):
    _one(folder, rng).write_bytes(rng.bytes(int(rng.integers(1, 4000))))


def pickled(folder, rng):
    _one(folder, rng).write_bytes(hostile_pickle())


def removed(folder, rng):
    _one(folder, rng).unlink()


def a_folder_instead(folder, rng):
    file = _one(folder, rng)
    file.unlink()
    file.mkdir()


def swapped(folder, rng):
    """Two files of the input have changed places; of a single one, its halves have."""
    there = files(folder)
    if len(there) == 1:
        data = there[0].read_bytes()
        return there[0].write_bytes(data[len(data) // 2 :] + data[: len(data) // 2])
    one, other = rng.choice(len(there), 2, replace=False)
    contents = there[one].read_bytes(), there[other].read_bytes()
    there[other].write_bytes(contents[0])
    return there[one].write_bytes(contents[1])


SPOILERS: tuple[Spoiler, ...] = (
    *(cut, flip, burst, huge_length, doubled, garbage, pickled, removed, a_folder_instead, swapped),
)


# ---- text that is JSON ----------------------------------------------------------------------------------------------

WRONG_VALUES = (None, "x", -1, 10**400, 10**15, float("nan"), float("inf"), [], {}, [[]], True, "x" * 100_000, 0)


def wrong_value(name: str, sign: Callable[[dict], None] = lambda document: None) -> Spoiler:
    """One value of the JSON file `name` is of another type, or out of all bounds; `sign` then makes checksums fit."""

    def spoil(folder, rng):
        document = json.loads((folder / name).read_text())
        at, keys = document, list(document)
        while True:
            key = keys[rng.integers(len(keys))]
            inner = at[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
                break
            at, keys = inner, list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        was = at[key]
        others = [value for value in WRONG_VALUES if type(value) is not type(was) or isinstance(was, str)]
        at[key] = others[rng.integers(len(others))]
        sign(document)
        (folder / name).write_text(json.dumps(document))

    spoil.__name__ = "wrong_value"
    return spoil


def deep(name: str, opening: str = "[") -> Spoiler:
    """Nested so deeply that a reader which calls itself would end."""

    def spoil(folder, rng):
        (folder / name).write_text(opening * DEEP)

    spoil.__name__ = "deep"
    return spoil


def written(name: str, content: Callable[[], str | bytes], called: str) -> Spoiler:
    """The file `name` holds `content` instead."""

    def spoil(folder, rng):
        data = content()
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    spoil.__name__ = called
    return spoil
