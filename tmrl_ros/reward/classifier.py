"""A small network that looks at a frame and says how probable it is that the task is done."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmrl_ros.config import RewardTraining, validate
from tmrl_ros.errors import DataError
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint
from tmrl_ros.policy.encoders import make_encoder
from tmrl_ros.reward.frames import chosen
from tmrl_ros.reward.verdict import Verdict, verdicts
from tmrl_ros.types import Observation

FORMAT = "tmrl_reward/1"


class Classifier(nn.Module):
    """`shapes` names its inputs: images [height, width, 3] and clouds [points, 3 or 6]."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], config: RewardTraining):
        super().__init__()
        self.shapes, self.config = {name: tuple(shapes[name]) for name in sorted(shapes)}, config
        sizes = config.embedding, config.encoder_width
        self.encoders = nn.ModuleList(make_encoder(name, shape, *sizes) for name, shape in self.shapes.items())
        self.enter = nn.Linear(config.embedding * len(self.shapes), config.width)
        self.leave = nn.Linear(config.width, 1)

    def fit(self, inputs: Mapping[str, Tensor]) -> None:
        """Take scales from the data, each input [n, ...]."""
        for name, encoder in zip(self.shapes, self.encoders, strict=True):
            encoder.fit(inputs[name])

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Log odds of success [n] of the inputs [n, ...]."""
        parts = [encoder(inputs[name]) for name, encoder in zip(self.shapes, self.encoders, strict=True)]
        return self.leave(F.relu(self.enter(torch.cat(parts, -1)))).squeeze(-1)

    @torch.no_grad()
    def probability(self, inputs: Mapping[str, np.ndarray], batch: int = 256) -> np.ndarray:
        """Of success, float32 [n]."""
        count = len(next(iter(inputs.values())))
        parts = [
            self({name: torch.as_tensor(values[k : k + batch]) for name, values in inputs.items()}).sigmoid()
            for k in range(0, count, batch)
        ]
        return torch.cat(parts).numpy()

    def judge(self, observation: Observation) -> tuple[Verdict, float]:
        """The verdict on one frame and its probability. Raises DataError if it is not what was trained on."""
        seen = chosen(observation, tuple(self.shapes))
        for name, shape in self.shapes.items():
            if seen[name].shape != shape:
                raise DataError(f"{name} is {list(seen[name].shape)}, the classifier was trained with {list(shape)}")
        probability = float(self.probability({name: value[None] for name, value in seen.items()})[0])
        return Verdict(verdicts([probability], self.config.success_at, self.config.failure_at)[0]), probability

    def save(self, folder: Path, report: Mapping[str, float]) -> None:
        meta = {"format": FORMAT, "shapes": self.shapes, "config": self.config.model_dump(), "report": dict(report)}
        write_checkpoint(folder, self.state_dict(), meta)

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Raises DataError if the folder is missing, damaged, or holds something else."""
        tensors, meta = read_checkpoint(folder, FORMAT)
        made = cls(meta["shapes"], validate(RewardTraining, meta["config"]))
        try:
            made.load_state_dict(tensors)
        except RuntimeError:
            raise DataError(f"{folder}: weights do not fit their description; train the classifier again") from None
        return made.eval().requires_grad_(False)
