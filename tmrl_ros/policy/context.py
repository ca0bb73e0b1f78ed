"""Which features smoothing corrupts, and which reach the network clean: decided here and nowhere else."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tmrl_ros.errors import ConfigError
from tmrl_ros.policy.schedule import smooth

SLICE = re.compile(r"state\[(-?\d*):(-?\d*)\]")


class Context(nn.Module):
    """The columns of the features that `smooth` chooses, and their corruption.

    `smooth` is "all", or words separated by spaces: an input ("state", "cloud", the name of an image), the beginning of
    a state entry's name, or entries by place as in "state[4:7]". All is the default: a policy whose own joints stay
    clean learns to go on as it moves, and then needs no object (methods.md of the shared design).
    """

    def __init__(self, smooth: str, state: Sequence[str], encoded: Sequence[str], scale: float, schedule: str):
        """`state` names each entry of the state, `encoded` the input of each column that an encoder made."""
        super().__init__()
        self.scale, self.schedule = scale, schedule
        chosen = set().union(*(_columns(word, state, encoded) for word in smooth.split()))
        if not chosen:
            raise ConfigError("smooth names nothing; use all, or kind = plain for a policy without smoothing")
        columns = range(len(state) + len(encoded))
        self.dim, self.whole = len(chosen), len(chosen) == len(columns)
        self.register_buffer("smoothed", torch.tensor(sorted(chosen)), persistent=False)
        self.register_buffer("clean", torch.tensor([k for k in columns if k not in chosen]).long(), persistent=False)

    def of(self, features: Tensor) -> Tensor:
        """What smoothing corrupts [n, dim], scaled up so that unit noise does not drown it at once."""
        return self.scale * (features if self.whole else features[:, self.smoothed])

    def forward(self, features: Tensor, sigma: Tensor, noise: Tensor | None) -> Tensor:
        """What the network is told [n, feature_dim]: the clean columns as they are, then the smoothed ones."""
        corrupted = smooth(self.of(features), sigma, noise, self.schedule)
        return corrupted if self.whole else torch.cat([features[:, self.clean], corrupted], -1)


def _columns(word: str, state: Sequence[str], encoded: Sequence[str]) -> set[int]:
    """Columns of the features that one word of `smooth` means."""
    if word == "all":
        return set(range(len(state) + len(encoded)))
    if word == "state":
        found = set(range(len(state)))
    elif place := SLICE.fullmatch(word):
        found = set(range(len(state))[slice(*(int(end) if end else None for end in place.groups()))])
    else:
        found = {k for k, name in enumerate(state) if name.startswith(word)}
        found |= {len(state) + k for k, name in enumerate(encoded) if name == word}
    if not found:
        valid = ["all", *["state", "state[FROM:TO]"] * bool(state), *dict.fromkeys(encoded)]
        entries = f", or the beginning of {', '.join(state)}" if state else ""
        raise ConfigError(f"smooth: {word!r} is no part of the observation; valid: {', '.join(valid)}{entries}")
    return found
