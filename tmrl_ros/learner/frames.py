"""Raw observations of the newest decisions, compressed without loss: for encoders that are trained or replaced later.

While the base is frozen, replay.py keeps the features of each decision and needs no pictures. Who fine-tunes an
encoder, exchanges it, or lets a critic train one (RoboFuME, arXiv 2310.15145) computes those features anew from here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numcodecs import Zstd

from tmrl_ros.errors import ConfigError
from tmrl_ros.policy.inputs import Shapes, gather, kind
from tmrl_ros.types import Observation

ZSTD = Zstd(level=1)
OVERHEAD_BYTES = 1024  # what a decision and its observation cost beside the compressed inputs, at most
Inputs = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Frame:
    """One observation: an episode's, at a stamp, its inputs compressed in the order of the shapes."""

    episode: int
    stamp_ns: int
    packed: tuple[bytes, ...]

    @property
    def cost(self) -> int:
        """Bytes that it is counted as."""
        return OVERHEAD_BYTES + sum(map(len, self.packed))


@dataclass(frozen=True, slots=True)
class Pair:
    """One decision, and the numbers of the frames before and after it."""

    decision: int
    before: int
    after: int


class Frames:
    """Ring of decisions with both of their observations, which never takes more than `capacity_bytes`.

    An observation is stored once: what follows a decision is what the next one of its episode starts from. The oldest
    decisions make room, and with them the observations that no other needs. Frames and decisions have numbers that
    only grow; both are kept without gaps, from the oldest to the newest.
    """

    def __init__(self, shapes: Shapes, capacity_bytes: int):
        smallest = 2 * (OVERHEAD_BYTES + sum(map(_packed_bytes_max, shapes.values())))
        if capacity_bytes < smallest:
            raise ConfigError(
                f"frames in {capacity_bytes} bytes: a decision's two observations can take {smallest}; allow as many"
            )
        self.shapes, self.capacity_bytes = dict(shapes), capacity_bytes
        self._clear(0, 0)

    def _clear(self, next_frame: int, next_pair: int) -> None:
        self.bytes, self._next_frame, self._next_pair = 0, next_frame, next_pair
        self._frames: dict[int, Frame] = {}
        self._pairs: dict[int, Pair] = {}
        self._numbers: dict[int, int] = {}  # decision -> number of its pair

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, decision: int) -> bool:
        return decision in self._numbers

    def __iter__(self) -> Iterator[int]:
        """Decisions, the oldest first."""
        return (pair.decision for pair in self._pairs.values())

    def add(self, episode: int, decision: int, observation: Observation, next_observation: Observation) -> None:
        """Store one decision; raises ValueError if a number of it is not finite, DataError if an input is missing."""
        if decision in self:
            raise ValueError(f"decision {decision} is already kept; each has a number of its own")
        if observation.stamp_ns >= next_observation.stamp_ns:
            raise ValueError(f"decision {decision}: its observations are not in the order of time")
        inputs = gather([observation, next_observation], self.shapes)
        bad = [name for name, values in inputs.items() if not np.isfinite(values).all()]
        if bad:
            raise ValueError(f"frames refuse decision {decision} of episode {episode}: {', '.join(bad)} not finite")
        shared = int(self._newest(episode, observation.stamp_ns))
        stamps_ns = observation.stamp_ns, next_observation.stamp_ns
        fresh = [self._pack(episode, stamps_ns[k], inputs, k) for k in range(shared, 2)]
        needed = sum(frame.cost for frame in fresh)
        while self._pairs and self.bytes + needed > self.capacity_bytes:
            self._forget_oldest(keep=self._next_frame - shared)
        for frame in fresh:
            self._append(frame)
        self._link(Pair(decision, self._next_frame - 2, self._next_frame - 1))

    def get(self, decision: int) -> tuple[Inputs, Inputs]:
        """Inputs by name before and after `decision`; raises KeyError if it is not kept."""
        pair = self._pairs[self._numbers[decision]]
        return self._unpack(pair.before), self._unpack(pair.after)

    def sample(self, rng: np.random.Generator, batch: int) -> tuple[np.ndarray, Inputs, Inputs]:
        """Decisions int64 [batch], and the inputs before and after, each [batch, ...]."""
        pairs = [self._pairs[int(k)] for k in rng.integers(self._next_pair - len(self), self._next_pair, batch)]
        before, after = (self._stack([getattr(pair, side) for pair in pairs]) for side in ("before", "after"))
        return np.array([pair.decision for pair in pairs]), before, after

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to continue, as arrays; holds a second copy of all bytes."""
        frames, pairs = self._frames.values(), self._pairs.values()
        packed = [part for frame in frames for part in frame.packed]
        return {
            "packed": np.frombuffer(b"".join(packed), np.uint8),
            "sizes": np.array([len(part) for part in packed], np.int64).reshape(-1, len(self.shapes)),
            "frames": np.array([(f.episode, f.stamp_ns) for f in frames], np.int64).reshape(-1, 2),
            "pairs": np.array([(p.decision, p.before, p.after) for p in pairs], np.int64).reshape(-1, 3),
            "next": np.array([self._next_frame, self._next_pair], np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned, with the same shapes and capacity."""
        self._clear(int(state["next"][0]) - len(state["frames"]), int(state["next"][1]) - len(state["pairs"]))
        data, ends = state["packed"].tobytes(), np.cumsum(state["sizes"]).reshape(state["sizes"].shape)
        for (episode, stamp_ns), sizes, stops in zip(state["frames"].tolist(), state["sizes"], ends, strict=True):
            parts = tuple(data[stop - size : stop] for size, stop in zip(sizes, stops, strict=True))
            self._append(Frame(episode, stamp_ns, parts))
        for row in state["pairs"].tolist():
            self._link(Pair(*row))

    def _newest(self, episode: int, stamp_ns: int) -> bool:
        """Whether the newest frame is this observation."""
        newest = self._frames.get(self._next_frame - 1)
        return newest is not None and (newest.episode, newest.stamp_ns) == (episode, stamp_ns)

    def _append(self, frame: Frame) -> None:
        self._frames[self._next_frame] = frame
        self._next_frame += 1
        self.bytes += frame.cost

    def _link(self, pair: Pair) -> None:
        self._pairs[self._next_pair], self._numbers[pair.decision] = pair, self._next_pair
        self._next_pair += 1

    def _forget_oldest(self, keep: int) -> None:
        """Drop the oldest decision, and the frames older than any that is needed; `keep` and later ones are."""
        oldest = self._pairs.pop(self._next_pair - len(self))
        del self._numbers[oldest.decision]
        needed = self._pairs[self._next_pair - len(self)].before if self._pairs else keep
        for number in range(oldest.before, needed):
            self.bytes -= self._frames.pop(number).cost

    def _pack(self, episode: int, stamp_ns: int, inputs: Inputs, k: int) -> Frame:
        return Frame(episode, stamp_ns, tuple(compress(inputs[name][k]) for name in self.shapes))

    def _stack(self, numbers: list[int]) -> Inputs:
        seen = [self._unpack(number) for number in numbers]
        return {name: np.stack([inputs[name] for inputs in seen]) for name in self.shapes}

    def _unpack(self, number: int) -> Inputs:
        packed = self._frames[number].packed
        return {n: decompress(p, shape) for p, (n, shape) in zip(packed, self.shapes.items(), strict=True)}


def _packed_bytes_max(shape: tuple[int, ...]) -> int:
    """Of an input that zstd cannot compress."""
    raw = int(np.prod(shape)) * np.dtype(kind(shape)).itemsize
    return raw + raw // 256 + 64


def compress(array: np.ndarray) -> bytes:
    """Images as differences from the pixel to the left, which halves what sensor noise leaves to store; other arrays
    byte by byte of their numbers, since sign and exponent repeat."""
    if array.dtype == np.uint8:
        planes = array.copy()
        planes[:, 1:] -= array[:, :-1]
    else:
        planes = np.ascontiguousarray(array.reshape(-1, 1).view(np.uint8).T)
    return bytes(ZSTD.encode(planes))


def decompress(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """What `compress` took, of `shape`."""
    planes = np.frombuffer(ZSTD.decode(packed), np.uint8)
    if kind(shape) == np.uint8:
        return np.add.accumulate(planes.reshape(shape), 1, dtype=np.uint8)
    return np.ascontiguousarray(planes.reshape(4, -1).T).view(np.float32).reshape(shape)
