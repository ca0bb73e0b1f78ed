"""What the learner node does, without ROS: no decision that an actor version counts is lost, whatever ends the process.

Each transition is appended to transitions.log before the version that counts it is published, and each of a person's
labels where it came among them. After a restart the newest checkpoint is loaded, and what the log holds beyond it is
learned again, update for update: the learner is then bit for bit the one that was killed.
"""

import time
from collections.abc import Callable
from pathlib import Path

from tmrl_ros.data import append_log, transition_log
from tmrl_ros.data.append_log import AppendLog
from tmrl_ros.data.assembler import Transition
from tmrl_ros.data.transition_log import ACTOR, LOG, STATE
from tmrl_ros.errors import DataError, TmrlError
from tmrl_ros.learner.core import Learner, recover
from tmrl_ros.policy.actor_file import FORMAT as ACTOR_FORMAT
from tmrl_ros.types import Label

Publish = Callable[[int, bytes, dict[str, float]], None]  # version, parameters (empty while warming up), metrics


class Learning:
    """A Learner with its log and its checkpoints in config.checkpoint; without that folder nothing is kept.

    `publish` is called for every `versions.period`-th version; `say` gets sentences for the node's log.
    """

    def __init__(self, core: Learner, publish: Publish, say: Callable[[str], None] = lambda sentence: None):
        self.core, self.config = core, core.config
        self.folder = Path(self.config.checkpoint) if self.config.checkpoint else None
        self._publish, self._say = publish, say
        self._log: AppendLog | None = None
        self.refused = 0  # decisions with numbers that are not finite

    def start(self) -> None:
        """Go on from what the folder holds, and publish what the policy may not have: the version due, and the newest.

        Raises TmrlError if the checkpoint or the log is damaged, or was written under other settings.
        """
        due = (0, self._parameters(), {})
        if self.folder:
            try:
                due = self._resume()
            except TmrlError as error:
                raise TmrlError(f"cannot resume: {error}") from None
        self._saved_episodes = self.core.episodes
        self._publish(*due)
        if due[0] != self.core.version:
            self._publish(self.core.version, self._parameters(), {})

    def _resume(self) -> tuple[int, bytes, dict[str, float]]:
        found, log = recover(self.folder / STATE), self.folder / LOG
        recover(self.folder / ACTOR, ACTOR_FORMAT)
        notes = self.core.restore(self.folder / STATE) if found else {}
        saved = self.core.version
        self._log = AppendLog(log, self.config.log_sync_s)
        if self._log.lost_bytes:
            self._say(f"{log.name}: {self._log.lost_bytes} bytes of a record that was being written are lost")
        mark = notes.get("log")
        self._check(mark)
        due = self._learn_again(log, mark["records"] if mark else 0)
        if found or self.core.version:
            self._say(
                f"resumed after {self.core.version} decisions ({self.core.version - saved} of them from the log), "
                f"{self.core.sac.updates} updates, state {self.core.digest}"
            )
        return due

    def _check(self, mark: dict | None) -> None:
        """Whether the log begins with what the checkpoint was learned from; one of older code says nothing."""
        if mark and append_log.digest(self._log.path, mark["records"]) != mark["sha256"]:
            raise DataError(
                f"{self._log.path} is not the log that {self.folder / STATE} was learned from "
                f"({mark['records']} records); restore the one that belongs to it, or remove both"
            )

    def _learn_again(self, log: Path, known: int) -> tuple[int, bytes, dict[str, float]]:
        """All that the checkpoint, of `known` records, lacks; returns the newest version the policy may be waiting for.

        A learner that was ended rather than killed left a version between two: the policy's next one is made from it.
        """
        period = self.config.versions.period
        due = (self.core.version // period * period, self._parameters(), {})
        for number, record in enumerate(transition_log.records(log)):
            if isinstance(record, Label):
                if number >= known:
                    self.core.label(record.episode, record.success)
            elif record.decision >= self.core.version:
                self.core.add(record)
                self.core.learn()
                if self.core.version % period == 0:
                    due = (self.core.version, self._parameters(), {})
        return due

    def learn(self, transition: Transition) -> None:
        """One transition into log, replay and updates; its version is published, and a checkpoint written, when due."""
        try:
            self.core.add(transition)
        except ValueError as error:
            self.refused += 1
            return self._say(str(error))
        self._keep(transition)
        start_s = time.monotonic()
        metrics = self.core.learn()
        if metrics:
            metrics["latency/learn_ms"] = 1e3 * (time.monotonic() - start_s)
        if self.core.version % self.config.versions.period:
            return None
        self._publish(self.core.version, self._parameters(), metrics)
        if self.core.episodes >= self._saved_episodes + self.config.checkpoint_episodes:
            self.save()  # at such a version only: after a kill the policy gets the very actor that is due
        return None

    def label(self, label: Label) -> None:
        """A person's verdict, into log and replay: what the next updates learn from is what that person says."""
        self.core.label(label.episode, label.success)
        self._keep(label)

    def _keep(self, record: Transition | Label) -> None:
        if self._log:
            self._log.append(transition_log.encode(record))
        for episode in self.core.unfound:
            self._say(f"episode {episode} was labelled, but the replay holds no decision of it; nothing changes")
        self.core.unfound.clear()

    def save(self) -> None:
        """A checkpoint now; the log is on the disk before it."""
        self._saved_episodes = self.core.episodes
        if self._log:
            self._log.sync()
            self.core.save(self.folder / STATE, {"log": {"records": self._log.records, "sha256": self._log.digest}})
            self.core.save_actor(self.folder / ACTOR)

    def close(self) -> None:
        """The last checkpoint, so that an evaluation uses everything learned."""
        try:
            if self.core.version:
                self.save()
            if self._log:
                self._log.close()
        except OSError as error:
            self._say(f"the last checkpoint in {self.folder} cannot be written ({error.strerror}); make room")

    def _parameters(self) -> bytes:
        return self.core.actor_bytes() if self.core.warm else b""
