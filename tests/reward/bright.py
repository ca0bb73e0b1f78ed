"""Frames in which success is a bright square high in a small noisy image: enough to learn from within a second."""

import numpy as np

from tmrl_ros.config import RewardTraining
from tmrl_ros.reward.frames import Frames, labels_of
from tmrl_ros.types import EpisodeEvent, Mode, Observation

SIDE_PX = 24
SETTINGS = RewardTraining(
    positives=3, margin=4, steps=150, learning_rate=5e-3, batch=32, encoder_width=16, embedding=8, width=16
)
TICK_NS = 100_000_000


def image(high: bool, rng: np.random.Generator) -> np.ndarray:
    """uint8 [24, 24, 3]."""
    pixels = rng.integers(0, 60, (SIDE_PX, SIDE_PX, 3))
    row, column = (2 if high else 15), rng.integers(2, 16)
    pixels[row : row + 6, column : column + 6] = 230
    return pixels.astype(np.uint8)


def episode(success: bool, rng: np.random.Generator, count: int = 14) -> list[np.ndarray]:
    """Images; the square of a success is up for its last seven."""
    return [image(success and k >= count - 7, rng) for k in range(count)]


def frames(episodes: int = 16, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    made = [episode(k % 2 == 0, rng) for k in range(episodes)]
    return Frames(
        {"front": np.concatenate(made)},
        np.concatenate([labels_of(len(some), k % 2 == 0, SETTINGS) for k, some in enumerate(made)]),
        np.repeat(np.arange(episodes, dtype=np.int32), len(made[0])),
    )


def observation(stamp_ns: int, pixels: np.ndarray) -> Observation:
    return Observation(stamp_ns, np.zeros(3, np.float32), {"front": pixels})


def event(stamp_ns: int, number: int, kind: str, success=False, reason="") -> EpisodeEvent:
    return EpisodeEvent(stamp_ns, number, kind, Mode.POLICY, True, success, True, 1, reason, 0.0)
