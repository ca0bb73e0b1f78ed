"""A recorded session against the code: do the policy and the assembler make of its bag what they made while it ran?

Every recorded ActionChunk is computed again, from the recorded Observation, the recorded parameters of the actor
version that it names, and the request that led to it, and compared bit for bit. Transitions are assembled from the bag
in the recorded order and in shuffled orders of arrival, and compared with each other and with the learner's own replay
buffer in its last checkpoint.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tmrl_ros.config import LearnerConfig, PolicyConfig, SupervisorConfig, validate
from tmrl_ros.data import store
from tmrl_ros.data.assembler import Transition, assemble
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import LEARNER_FORMAT, Learner
from tmrl_ros.nodes import replay as recorded
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint
from tmrl_ros.policy.server import PolicyServer
from tmrl_ros.policy.versions import ActorVersions
from tmrl_ros.session import graph, recorded_settings
from tmrl_ros.types import ActionChunk, Decision, DecisionRequest, EpisodeEvent, Label, Observation

SHUFFLES = 3
LATEST_NS = 60 * 10**9  # how late a message may arrive in a shuffle: well within what the assembler holds


@dataclass
class Comparison:
    """What came of a replay; `notes` are sentences on what differs or could not be compared."""

    chunks: int = 0
    equal: int = 0
    transitions: int = 0
    transitions_equal: bool = True
    learner_rows: int = 0  # of the learner's own buffer that were compared
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return self.equal == self.chunks and self.transitions_equal

    def result(self) -> dict:
        """The last line of benchmarks/replay.py."""
        return {"chunks": self.chunks, "equal": self.equal, "transitions_equal": self.transitions_equal}


@dataclass(frozen=True)
class Recording:
    """A bag with the parameters its nodes had; `folder` is the run's, where the learner left its checkpoints."""

    bag: Path
    folder: Path
    policy: PolicyConfig
    learner: LearnerConfig
    supervisor: SupervisorConfig

    @classmethod
    def of(cls, bag: Path, base: Path | None = None) -> "Recording":
        """The recording at `bag`, with the settings of its session; `base` replaces the base policy's recorded path."""
        bag = Path(bag).resolve()
        nodes = recorded_settings.parameters(bag, graph.MODELS)
        if nodes["recorder"].get("resume"):
            nodes["policy"]["actor"] = ""  # that it went on with: the bag has all its versions
        if base:
            nodes["policy"]["base"] = nodes["learner"]["base"] = str(Path(base).resolve())
        models = (validate(graph.MODELS[name], nodes[name]) for name in ("policy", "learner", "supervisor"))
        return cls(bag, bag.parent, *models)


def compare(recording: Recording) -> Comparison:
    """Everything that can be compared for this recording."""
    comparison = Comparison()
    stretches = list(recorded.stretches(recording.bag))
    if any(isinstance(record, ActionChunk) for stretch in stretches for record in stretch):
        _compare_chunks(recording, stretches, comparison)
    _compare_transitions(recording, stretches, comparison)
    if not comparison.chunks and not comparison.transitions:
        raise DataError(f"{recording.bag} holds no action chunk and no transition, so there is nothing to compare")
    return comparison


# ---- chunks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """A recorded chunk with what led to it."""

    chunk: ActionChunk
    observation: Observation
    greedy: bool


def _compare_chunks(recording: Recording, stretches: list[list], comparison: Comparison) -> None:
    server = PolicyServer(recording.policy, BasePolicy.load(Path(recording.policy.base)))
    open_: dict[int, list[_Asked]] = {}  # actor version -> chunks that are not yet found equal
    for stretch in stretches:
        for asked in _asked(stretch, comparison):
            open_.setdefault(asked.chunk.actor_version, []).append(asked)
    heard = []
    for _ in _actors(server, recording.bag, heard):
        open_[server.version] = [
            asked for asked in open_.get(server.version, []) if not identical(_again(server, asked), asked.chunk)
        ]
    different = [asked.chunk for left in open_.values() for asked in left]
    chunks = [record for stretch in stretches for record in stretch if isinstance(record, ActionChunk)]
    comparison.chunks, comparison.equal = len(chunks), len(chunks) - len(different) - len(comparison.notes)
    if different:
        first = min(different, key=lambda chunk: chunk.decision)
        comparison.notes.append(
            f"{len(different)} chunks differ, first that of decision {first.decision}, actor version "
            f"{first.actor_version}"
        )
    if recording.policy.wait_for_learner:
        _compare_versions(recording, chunks, heard, comparison)


def _asked(stretch: list, comparison: Comparison) -> Iterator[_Asked]:
    """Every chunk of a stretch; those whose cause is not in the bag are noted instead."""
    observations = {record.stamp_ns: record for record in stretch if isinstance(record, Observation)}
    greedy = {record.episode: record.greedy for record in stretch if isinstance(record, EpisodeEvent)}
    for chunk in stretch:
        if not isinstance(chunk, ActionChunk):
            continue
        if chunk.stamp_ns in observations and chunk.episode in greedy:
            yield _Asked(chunk, observations[chunk.stamp_ns], greedy[chunk.episode])
        else:
            comparison.notes.append(f"decision {chunk.decision}: its observation or episode is not in the bag")


def _actors(server: PolicyServer, bag: Path, heard: list[int]) -> Iterator[None]:
    """Give `server` each recorded actor in turn, first the one it began with; `heard` collects versions that act."""
    yield
    for version, parameters in recorded.actor_updates(bag):
        if parameters:
            server.update_actor(version, parameters)
            heard.append(version)
            yield


def _again(server: PolicyServer, asked: _Asked) -> ActionChunk:
    chunk = asked.chunk
    request = DecisionRequest(chunk.stamp_ns, chunk.episode, chunk.decision, asked.greedy)
    return recorded.as_received(server.decide(request, asked.observation))


def _compare_versions(recording: Recording, chunks: list[ActionChunk], heard: list[int], comparison) -> None:
    """Lockstep's rule: which decision used which actor is no matter of timing."""
    versions, due, late = ActorVersions(recording.policy.versions), 0, 0
    for version in heard:
        versions.offer(version, b"actor")
    for chunk in chunks:
        update = versions.take(chunk.decision)
        due = update[0] if update else due
        late += chunk.actor_version != due
    if late:
        comparison.notes.append(
            f"{late} chunks came from another actor version than the one due: the learner was silent"
        )


# ---- transitions ----------------------------------------------------------------------------------------------------


def _compare_transitions(recording: Recording, stretches: list[list], comparison: Comparison) -> None:
    transitions = [t for stretch in stretches for t in _assembled(recording, stretch, comparison)]
    comparison.transitions = len(transitions)
    if (recording.folder / "checkpoints/learner").exists():
        events = [record for stretch in stretches for record in stretch if isinstance(record, EpisodeEvent)]
        labels = [label for label in map(Label.of, events) if label]
        _compare_with_learner(recording, transitions, labels, comparison)


def _assembled(recording: Recording, stretch: list, comparison: Comparison) -> list[Transition]:
    timing = recording.supervisor.timing
    transitions, dropped = assemble(stretch, timing)
    for reason, count in dropped.items():
        comparison.notes.append(f"{count} decisions or observations made no transition: {reason}")
    for seed in range(SHUFFLES):
        if not identical(assemble(shuffled(stretch, seed), timing), (transitions, dropped)):
            comparison.transitions_equal = False
            comparison.notes.append(f"another order of arrival (shuffle {seed}) gives other transitions")
    return transitions


def shuffled(records: Iterable, seed: int) -> list:
    """Observations and decisions as another network might deliver them: each stream in order, either far behind."""
    rng = np.random.default_rng(seed)
    arrivals = []
    for kind in (Observation, Decision):
        stream = [record for record in records if isinstance(record, kind)]
        sent_ns = np.array([getattr(record, "next_stamp_ns", record.stamp_ns) for record in stream], np.int64)
        bursts = np.repeat(rng.integers(0, LATEST_NS, len(stream) // 50 + 1), 50)[: len(stream)]
        arrivals += zip(np.maximum.accumulate(sent_ns + bursts).tolist(), stream, strict=True)
    return [record for _, record in sorted(arrivals, key=lambda arrival: arrival[0])]


def _compare_with_learner(
    recording: Recording, transitions: list[Transition], labels: list[Label], comparison: Comparison
) -> None:
    """The replay buffer rebuilt from the bag alone against the one in the learner's last checkpoint."""
    tensors, meta = read_checkpoint(recording.folder / "checkpoints/learner", LEARNER_FORMAT)
    own = {name.removeprefix("replay."): tensors[name].numpy() for name in tensors if name.startswith("replay.")}
    base = BasePolicy.load(Path(recording.learner.base))
    stores = (store.read_named(path) for path in (recording.learner.demos, recording.learner.corrections))
    rebuilt = Learner(recording.learner, base, *stores)
    for transition in transitions:
        if transition.decision < meta["version"]:
            rebuilt.add(transition)
    for label in labels:
        rebuilt.label(label.episode, label.success)
    comparison.learner_rows = len(own["reward"])
    unlearned = sum(transition.decision >= meta["version"] for transition in transitions)
    if unlearned:
        comparison.notes.append(f"the learner's last checkpoint has not seen {unlearned} of the bag's transitions")
    differing = [name for name, values in rebuilt.replay.state().items() if not identical(values, own.get(name))]
    if differing:
        comparison.transitions_equal = False
        comparison.notes.append(
            f"the learner's buffer of {comparison.learner_rows} decisions differs from that rebuilt from the bag "
            f"({len(rebuilt.replay)} decisions) in: {', '.join(differing)}"
        )


# ---- sameness -------------------------------------------------------------------------------------------------------


def identical(a, b) -> bool:
    """Same type, same shape, same bits, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return all(identical(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return a == b


def run(bag: Path, base: Path | None = None) -> Comparison:
    """Compare, and say on stdout what came of it."""
    if not Path(bag).exists():
        raise DataError(f"{bag} does not exist; give the bag of a finished session, such as runs/NAME/finetune/bag")
    comparison = compare(Recording.of(bag, base))
    print(f"{comparison.equal} of {comparison.chunks} action chunks are bit for bit as recorded")
    learner = f" and the learner's own {comparison.learner_rows}" if comparison.learner_rows else ""
    verdict = "agree" if comparison.transitions_equal else "DIFFER"
    print(f"{comparison.transitions} transitions from the bag, {SHUFFLES} shuffles of arrival{learner}: they {verdict}")
    for note in comparison.notes:
        print(f"note: {note}")
    return comparison
