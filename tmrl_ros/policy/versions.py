"""Which actor version acts: in lockstep exactly the one that is `lag` decisions old, so a seed gives one session."""

from tmrl_ros.config import Versions


class ActorVersions:
    """Holds published versions until the decision that is due to use them.

    The learner publishes version 0 at its start and then every `period` decisions (empty parameters while it warms
    up). Decision n uses the newest multiple of `period` that is at most n - lag: old enough that learning overlaps
    acting, never a matter of timing.
    """

    def __init__(self, config: Versions):
        self.period, self.lag = config.period, config.lag
        self.pending: dict[int, bytes] = {}
        self.newest = -1

    def offer(self, version: int, parameters: bytes) -> None:
        """A version arrived."""
        self.pending[version] = parameters
        self.newest = max(self.newest, version)

    def due(self, decision: int) -> int:
        """The version that `decision` is to use; 0 is the prior, or what was learned before the session."""
        return max(0, (decision - self.lag) // self.period * self.period)

    def ready(self, decision: int) -> bool:
        """Whether that version, or a newer one, has arrived."""
        return self.newest >= self.due(decision)

    def take(self, decision: int) -> tuple[int, bytes] | None:
        """The newest arrived version that `decision` may use, once; None if there is nothing newer than in use."""
        return self._take([version for version in self.pending if version <= self.due(decision)])

    def take_newest(self) -> tuple[int, bytes] | None:
        """The newest arrived version, once: what a robot in real time uses."""
        return self._take(list(self.pending))

    def _take(self, usable: list[int]) -> tuple[int, bytes] | None:
        if not usable:
            return None
        version = max(usable)
        parameters = self.pending[version]
        for old in usable:
            del self.pending[old]
        return version, parameters
