"""Replay ring of decisions. Each row is whole: both observations, so nothing is ever read across an episode's end."""

import numpy as np

FIELDS = ("features", "action", "reward", "next_features", "bootstrap")


class Replay:
    """Ring of `capacity` decisions; remembers which belong to successful episodes, and which a person made."""

    def __init__(self, capacity: int, feature_dim: int, action_dim: int):
        self.capacity, self.count = capacity, 0  # count of rows ever added
        dims = {
            "features": feature_dim,
            "action": action_dim,
            "reward": 0,
            "next_features": feature_dim,
            "bootstrap": 0,
        }
        self.rows = {name: np.zeros((capacity, dim) if dim else capacity, np.float32) for name, dim in dims.items()}
        self.episode = np.full(capacity, -1, np.int64)
        self.successful, self.shown = np.zeros(capacity, bool), np.zeros(capacity, bool)

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(self, episode: int, success: bool, shown: bool = False, **row: np.ndarray) -> None:
        """Store one decision; `success` on an episode's last row marks all of that episode as successful.

        `shown`: a person made it.
        """
        bad = [name for name in FIELDS if not np.isfinite(row[name]).all()]
        if bad:
            raise ValueError(f"replay refuses a decision of episode {episode}: {', '.join(bad)} not finite")
        at = self.count % self.capacity
        for name in FIELDS:
            self.rows[name][at] = row[name]
        self.episode[at], self.successful[at], self.shown[at] = episode, False, shown
        self.count += 1
        if success:
            self.successful[self.episode == episode] = True

    def label(self, episode: int, success: bool) -> bool:
        """A verdict on an episode whose last row was added before; returns whether that row is still here.

        It then is as if it had come with this verdict: a success earns 0 and ends the episode, all else -1 and goes on.
        """
        at = np.flatnonzero(self.episode == episode)
        if not len(at):
            return False
        last = at[((at - self.count) % self.capacity).argmax()]
        self.rows["reward"][last], self.rows["bootstrap"][last] = success - 1.0, not success
        self.successful[at] = success
        return True

    def extend(self, episode: np.ndarray, **rows: np.ndarray) -> None:
        """Fill an empty ring with as many decisions [n] of successful episodes."""
        for name in FIELDS:
            self.rows[name][: len(episode)] = rows[name]
        self.episode[: len(episode)], self.successful[: len(episode)], self.count = episode, True, len(episode)

    def sample(self, rng: np.random.Generator, batch: int, success_share: float) -> dict[str, np.ndarray]:
        """A batch of rows; `success_share` of it from successful episodes as soon as there are any."""
        at = rng.integers(len(self), size=batch)
        good = np.flatnonzero(self.successful[: len(self)])
        if len(good):
            n = round(batch * success_share)
            at[:n] = good[rng.integers(len(good), size=n)]
        return self.at(at)

    def at(self, at: np.ndarray) -> dict[str, np.ndarray]:
        """The rows of these numbers."""
        return {name: values[at] for name, values in self.rows.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to continue, as arrays; trimmed to what is used."""
        n = len(self)
        rows = {name: values[:n] for name, values in self.rows.items()}
        marks = {"episode": self.episode[:n], "successful": self.successful[:n], "shown": self.shown[:n]}
        return {**rows, **marks, "count": np.array([self.count])}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        n = len(state["reward"])
        for name in FIELDS:
            self.rows[name][:n] = state[name]
        self.episode[:n], self.successful[:n], self.shown[:n] = state["episode"], state["successful"], state["shown"]
        self.count = int(state["count"][0])
