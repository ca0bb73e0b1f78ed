"""Trains a classifier of success on some episodes and judges it on others; one that is not precise is not written."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from tmrl_ros.config import RewardTraining
from tmrl_ros.errors import DataError
from tmrl_ros.reward.classifier import Classifier
from tmrl_ros.reward.frames import Frames
from tmrl_ros.reward.verdict import Verdict, verdicts


@dataclass(frozen=True)
class Report:
    """On frames whose label is known: of those called success how many are, how many are found, how many are unsure."""

    precision: float  # NaN where nothing was called success
    recall: float
    unknown_share: float
    frames: int
    episodes: int

    def __str__(self) -> str:
        return (
            f"precision {self.precision:.3f}, recall {self.recall:.3f}, unknown {self.unknown_share:.3f} "
            f"of {self.frames} frames from {self.episodes} held-out episodes"
        )


def train(frames: Frames, config: RewardTraining, seed: int, out: Path, say: Callable[[int, float], None]) -> Report:
    """Writes the classifier to `out`; raises DataError if it falls short on the episodes that it never saw."""
    learned, judged = split(frames, config.held_out, seed)
    classifier = fit(learned, config, seed, say)
    report = judge(classifier, judged)
    if not (report.precision >= config.precision_min and report.recall >= config.recall_min):  # NaN falls short
        raise DataError(
            f"nothing is written: {report}; a precision of {config.precision_min:g} and a recall of "
            f"{config.recall_min:g} are needed. Label more episodes, most of all those that it gets wrong"
        )
    classifier.save(out, asdict(report))
    return report


def split(frames: Frames, held_out: float, seed: int) -> tuple[Frames, Frames]:
    """Known frames by whole episodes, of which a share is held out, among successes and failures alike."""
    frames = frames.take(frames.labels != Verdict.UNKNOWN)
    rng, held = np.random.default_rng([seed, 7]), []
    won = np.unique(frames.episodes[frames.labels == Verdict.SUCCESS])
    lost = np.setdiff1d(np.unique(frames.episodes), won)
    if len(won) < 4:
        raise DataError(f"{len(won)} episodes show success; at least 4 are needed, some to learn from, some to judge")
    for kind in (won, lost):
        count = min(len(kind) - 1, max(1, round(held_out * len(kind)))) if len(kind) > 1 else 0
        held.append(rng.permutation(kind)[:count])
    judged = np.isin(frames.episodes, np.concatenate(held))
    return frames.take(~judged), frames.take(judged)


def fit(frames: Frames, config: RewardTraining, seed: int, say: Callable[[int, float], None]) -> Classifier:
    """Cross-entropy on batches of which half shows success; `say` gets each step and its loss."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 8])
    classifier = Classifier({name: values.shape[1:] for name, values in frames.inputs.items()}, config)
    classifier.fit({name: torch.as_tensor(values) for name, values in frames.inputs.items()})
    optimizer = torch.optim.AdamW(classifier.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    kinds = [np.flatnonzero(frames.labels == verdict) for verdict in (Verdict.SUCCESS, Verdict.FAILURE)]
    if not all(map(len, kinds)):
        raise DataError("the frames to learn from show success alone, or none; label episodes of both kinds")
    for step in range(1, config.steps + 1):
        rows = np.concatenate([rng.choice(kind, config.batch // 2) for kind in kinds])
        inputs = {name: _varied(values[rows], config, rng) for name, values in frames.inputs.items()}
        labels = torch.as_tensor(frames.labels[rows], dtype=torch.float32)
        loss = F.binary_cross_entropy_with_logits(classifier(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        say(step, float(loss.detach()))
    return classifier.eval()


def judge(classifier: Classifier, frames: Frames) -> Report:
    """How its verdicts compare with the labels."""
    config = classifier.config
    said = verdicts(classifier.probability(frames.inputs), config.success_at, config.failure_at)
    called, true = said == Verdict.SUCCESS, frames.labels == Verdict.SUCCESS
    right = int((called & true).sum())
    return Report(
        right / int(called.sum()) if called.any() else float("nan"),
        right / max(1, int(true.sum())),
        float((said == Verdict.UNKNOWN).mean()),
        len(frames),
        len(np.unique(frames.episodes)),
    )


def _varied(values: np.ndarray, config: RewardTraining, rng: np.random.Generator) -> torch.Tensor:
    """Images [n, h, w, 3] each shifted and lightened a little; clouds as they are."""
    if values.ndim != 4:
        return torch.as_tensor(values)
    reach = config.shift_px
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = values.shape[1:3]
    places = rng.integers(0, 2 * reach + 1, (len(values), 2))
    moved = np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(padded, places, strict=True)])
    light = rng.uniform(1 - config.brightness, 1 + config.brightness, (len(values), 1, 1, 1))
    return torch.as_tensor((moved * light).clip(0, 255).astype(np.uint8))
