"""Frames that show success, or do not, from what a person said of whole episodes.

The last frames of a success show it. A margin before them is in doubt, and neither; every other frame shows none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tmrl_ros.config import RewardTraining
from tmrl_ros.errors import DataError
from tmrl_ros.reward.verdict import Verdict
from tmrl_ros.types import EpisodeEvent, Observation

FORMAT = "tmrl_reward_frames/1"
THIN = 3  # of the frames long before an episode's end one in so many is kept
PERSONS, SOURCES = ("kept",), ("success", "time")  # reasons of an end that a person, or a reward source, gave


@dataclass(frozen=True)
class Frames:
    """`inputs` by name, each [n, ...]: images uint8, clouds float32; `labels` int8 [n], of Verdict; `episodes` [n]."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray
    episodes: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows) -> "Frames":
        return Frames(
            {name: values[rows] for name, values in self.inputs.items()}, self.labels[rows], self.episodes[rows]
        )


def labels_of(count: int, success: bool, config: RewardTraining) -> np.ndarray:
    """The labels int8 [count] of an episode's frames."""
    labels = np.full(count, Verdict.FAILURE, np.int8)
    if success:
        labels[max(0, count - config.positives - config.margin) :] = Verdict.UNKNOWN
        labels[max(0, count - config.positives) :] = Verdict.SUCCESS
    return labels


def labelled(
    records: Iterable[object], config: RewardTraining, believe: bool = False
) -> Iterator[tuple[list[Observation], np.ndarray]]:
    """Observations and labels of each episode on which a verdict was given; `believe` also takes a source's own.

    They come after the last record: an episode may be labelled long after its end, and the label counts.
    """
    ended: dict[int, tuple[list[Observation], EpisodeEvent]] = {}
    recent: list[Observation] = []
    for record in records:
        if isinstance(record, Observation):
            recent.append(record)
        elif isinstance(record, EpisodeEvent):
            if record.kind == "started":
                recent = [seen for seen in recent if seen.stamp_ns >= record.stamp_ns]
            elif record.kind == "ended":
                recent = [seen for seen in recent if seen.stamp_ns <= record.stamp_ns]
                ended[record.episode], recent = (_thin(recent, config), record), []
            elif record.episode in ended:
                ended[record.episode] = (ended[record.episode][0], record)
    for seen, event in ended.values():
        told = event.kind == "labelled" or event.reason in PERSONS or (believe and event.reason in SOURCES)
        if told and seen:
            yield seen, labels_of(len(seen), event.success, config)


def _thin(seen: list[Observation], config: RewardTraining) -> list[Observation]:
    """All of what an episode's labels may turn on, and some of the long way there: they need the memory."""
    late = config.positives + config.margin
    return seen[:-late:THIN] + seen[-late:]


def gather(episodes: Iterable[tuple[list[Observation], np.ndarray]], names: Sequence[str] = ()) -> Frames:
    """Frames of the inputs `names` (empty: every image and the cloud). Raises DataError if there are none."""
    inputs, labels, numbers = {}, [], []
    for number, (seen, marks) in enumerate(episodes):
        for observation in seen:
            for name, value in chosen(observation, names).items():
                inputs.setdefault(name, []).append(value)
        labels.append(marks)
        numbers.append(np.full(len(marks), number, np.int32))
    if not labels:
        raise DataError(
            "no episode was judged by a person; label some (label_episode), or believe the session's source"
        )
    marks = np.concatenate(labels)
    wrong = [name for name, values in inputs.items() if len({v.shape for v in values}) > 1 or len(values) != len(marks)]
    if wrong or not inputs:
        raise DataError(f"{wrong[0] if wrong else 'images and clouds'}: not in every frame, or not of one size")
    return Frames({name: np.stack(values) for name, values in inputs.items()}, marks, np.concatenate(numbers))


def chosen(observation: Observation, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The inputs of one observation by name; raises DataError if one is missing."""
    cloud = {} if observation.cloud is None else {"cloud": observation.cloud}
    offered = {**cloud, **observation.images}
    missing = [name for name in names if name not in offered]
    if missing:
        raise DataError(f"observations have no {missing[0]!r}, but {', '.join(offered) or 'neither image nor cloud'}")
    return {name: offered[name] for name in names or offered}


def joined(parts: Sequence[Frames]) -> Frames:
    """Frames of several recordings, their episodes counted on."""
    if len({tuple(sorted((n, v.shape[1:]) for n, v in part.inputs.items())) for part in parts}) != 1:
        raise DataError("the frames are not of the same inputs and sizes; record and label them with one setting")
    counts = np.cumsum([0, *(int(part.episodes.max()) + 1 for part in parts)])
    return Frames(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.episodes + count for part, count in zip(parts, counts, strict=False)]),
    )


def write(path: Path, frames: Frames) -> None:
    arrays = {"labels": frames.labels, "episodes": frames.episodes}
    save_file(arrays | {f"input.{name}": values for name, values in frames.inputs.items()}, path, {"format": FORMAT})


def read(path: Path) -> Frames:
    """Raises DataError if the file is missing, damaged or of another kind."""
    try:
        with safe_open(path, "numpy") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise DataError(f"{path} holds no labelled frames; give what `tmrl reward label` wrote")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read ({error}); give what `tmrl reward label` wrote") from None
    labels, episodes = arrays.pop("labels"), arrays.pop("episodes")
    return Frames({name.removeprefix("input."): values for name, values in arrays.items()}, labels, episodes)
