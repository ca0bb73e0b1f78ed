"""Edits of demonstrations: pure functions from stores' contents to new ones; the originals stay as they are.

Each edit adds a sentence to `meta.config["edits"]`, so a store says what was done to it. Images are not read here: what
comes out refers to the rows of the originals, which must stay until it is written.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from tmrl_ros.data.images import Gathered, sizes
from tmrl_ros.data.store import Demonstrations, StoreMeta, collect
from tmrl_ros.errors import DataError

SHARED = ("task", "calibration", "state_names", "action_names", "action_hz")  # what makes rows of two stores alike

Episode = tuple[np.ndarray, np.ndarray]  # states float32 [rows, state_dim], actions float32 [rows, action_dim]
Span = tuple[Demonstrations, int, int]  # rows [start, stop) of demonstrations, all of one episode


def episodes(demonstrations: Demonstrations) -> list[Episode]:
    """One (states, actions) pair an episode, in order: the inverse of store.collect, images apart."""
    cuts = demonstrations.ends[:-1]
    return list(zip(np.split(demonstrations.states, cuts), np.split(demonstrations.actions, cuts), strict=True))


def merge(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All episodes of `parts`, in that order; DataError names what does not fit."""
    if not parts:
        raise DataError("No store to merge; give at least one")
    first = parts[0].meta
    for number, part in enumerate(parts[1:], 2):
        for name in SHARED:
            ours, theirs = getattr(first, name), getattr(part.meta, name)
            if ours != theirs:
                raise DataError(f"Stores 1 and {number} cannot be merged: {name} is {ours!r} and {theirs!r}")
        ours, theirs = sizes(parts[0].images), sizes(part.images)
        if ours != theirs:
            raise DataError(f"Stores 1 and {number} cannot be merged: images are {ours or 'none'}, {theirs or 'none'}")
        ours, theirs = (None if d.clouds is None else d.clouds.shape[1:] for d in (parts[0], part))
        if ours != theirs:
            raise DataError(f"Stores 1 and {number} cannot be merged: clouds are {ours or 'none'}, {theirs or 'none'}")
    earlier = [edit for part in parts for edit in part.meta.config.get("edits", [])]
    seeds = ", ".join(str(part.meta.seed) for part in parts)
    meta = _edited(first, f"merged from {len(parts)} stores of seeds {seeds}", earlier)
    return _join([span for part in parts for span in _spans(part)], meta)


def trim(
    demonstrations: Demonstrations, head_rows: int = 0, tail_rows: int = 0, drop: Collection[int] = ()
) -> Demonstrations:
    """Without the episodes in `drop`, and the others without their first and last rows; each keeps one row at least."""
    whole = _spans(demonstrations)
    unknown = sorted(set(drop) - set(range(len(whole))))
    if unknown:
        raise DataError(f"There is no episode {unknown[0]} to drop; valid: 0 to {len(whole) - 1}")
    if head_rows < 0 or tail_rows < 0:
        raise DataError(f"{head_rows} and {tail_rows} rows cannot be cut off; give 0 or more")
    kept = [(number, start, stop) for number, (_, start, stop) in enumerate(whole) if number not in set(drop)]
    short = [(number, stop - start) for number, start, stop in kept if stop - start <= head_rows + tail_rows]
    if short:
        number, rows = short[0]
        raise DataError(
            f"Episode {number} has {rows} rows, so {head_rows} + {tail_rows} cannot be cut off; cut fewer, or drop it"
        )
    cut = [(demonstrations, start + head_rows, stop - tail_rows) for _, start, stop in kept]
    dropped = f" and episodes {', '.join(map(str, sorted(drop)))}" if drop else ""
    return _join(cut, _edited(demonstrations.meta, f"trimmed by {head_rows} + {tail_rows} rows{dropped}"))


def split(demonstrations: Demonstrations, share: float, seed: int = 0) -> tuple[Demonstrations, Demonstrations]:
    """Two stores of whole episodes, drawn at random: about `share` of them in the first, each in its old order."""
    whole = _spans(demonstrations)
    if not 0 < share < 1 or len(whole) < 2:
        raise DataError(
            f"{len(whole)} episodes cannot be split at a share of {share:g}; "
            "it takes two episodes and a share between 0 and 1"
        )
    first = min(max(round(share * len(whole)), 1), len(whole) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(whole))[:first].tolist())
    sides = [number for number in range(len(whole)) if number in chosen], sorted(set(range(len(whole))) - chosen)
    return tuple(
        _join([whole[number] for number in side],
              _edited(demonstrations.meta, f"part {part} of a split at {share:g}, seed {seed}"))
        for part, side in enumerate(sides, 1)
    )  # fmt: skip


def _spans(demonstrations: Demonstrations) -> list[Span]:
    """One an episode."""
    ends = demonstrations.ends.tolist()
    return [(demonstrations, start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]


def _join(spans: Sequence[Span], meta: StoreMeta) -> Demonstrations:
    """Episodes out of spans."""
    pairs = [(part.states[start:stop], part.actions[start:stop]) for part, start, stop in spans]
    images = {
        camera: Gathered([(part.images[camera], start, stop) for part, start, stop in spans])
        for camera in (spans[0][0].images if spans else ())
    }
    clouds = [part.clouds[start:stop] for part, start, stop in spans if part.clouds is not None]
    return collect(pairs, meta, images, np.concatenate(clouds) if clouds else None)


def shrunk(demonstrations: Demonstrations, quality: int) -> Demonstrations:
    """The same, to be written with lossy images; DataError where there are none."""
    if not demonstrations.images:
        raise DataError("There are no images to shrink; states and clouds are kept as they are")
    return replace(demonstrations, meta=_edited(demonstrations.meta, f"images shrunk to WebP of quality {quality}"))


def _edited(meta: StoreMeta, sentence: str, earlier: Sequence[str] | None = None) -> StoreMeta:
    edits = meta.config.get("edits", []) if earlier is None else earlier
    return meta.model_copy(update={"config": {**meta.config, "edits": [*edits, sentence]}})
