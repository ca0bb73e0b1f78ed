"""`tmrl actor`: any version of the actor that a session had, out of its bag; checkpoints hold the last one alone."""

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tmrl_ros.config import LearnerConfig, validate
from tmrl_ros.errors import DataError
from tmrl_ros.nodes import replay as recorded
from tmrl_ros.policy.actor_file import build_actor, parse_actor, write_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.steering import Steering
from tmrl_ros.session import graph, recorded_settings, summary
from tmrl_ros.types import Decision, EpisodeEvent


class Version(NamedTuple):
    """One actor: when it came, and how the last `episodes` until then went."""

    version: int
    robot_minutes: float
    successes: int
    episodes: int


def versions(bag: Path) -> list[Version]:
    """The actors in a bag in the order they came, of each episode the last; DataError if there is none."""
    records = list(recorded.progress(bag))
    decided = sorted((record.decision, record.robot_time_s) for record in records if isinstance(record, Decision))
    judged = summary.outcomes([record for record in records if isinstance(record, EpisodeEvent)])
    found = {}
    for version, _ in _actors(bag):
        before = bisect_left(decided, (version,))  # the decisions that it learned from
        robot_time_s = decided[before - 1][1] if before else 0.0
        ended = [event for event in judged if event.robot_time_s <= robot_time_s]
        last = ended[-summary.WINDOW :]
        found[len(ended)] = Version(version, robot_time_s / 60, sum(event.success for event in last), len(last))
    if not found:
        raise DataError(f"{bag} holds no actor that has learned; give the bag of a finetune session beyond its warm-up")
    return list(found.values())


def say(bag: Path) -> None:
    """The versions as a table on stdout."""
    entries = versions(bag)
    print(f"{'version':>9}  {'robot minutes':>13}  success of the last {summary.WINDOW} episodes until then")
    for entry in entries:
        rate = f"{entry.successes} of {entry.episodes}"
        print(f"{entry.version:>9}  {entry.robot_minutes:>13.1f}  {rate if entry.episodes else 'none judged yet'}")


def write(bag: Path, out: Path, version: int, base: Path | None = None) -> None:
    """Write one actor of `bag` into the folder `out`, as its session would have; `base` replaces the recorded path.

    Raises DataError if there is no such version, or it does not fit the settings of its session.
    """
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    known, wanted = set(), None
    for number, parameters in _actors(bag):
        known.add(number)
        wanted = parameters if number == version else wanted
    if not known:
        versions(bag)  # says so
    if wanted is None:
        nearest = min(sorted(known), key=lambda number: abs(number - version))
        raise DataError(f"version {version} is not in {bag} ({min(known)} to {max(known)}); the nearest is {nearest}")
    values = recorded_settings.parameters(bag, graph.MODELS)["learner"]
    config = validate(LearnerConfig, values)
    steering = Steering.of(config, BasePolicy.load(base or Path(config.base)))
    write_actor(out, *build_actor(parse_actor(wanted), steering), steering, version)


def _actors(bag: Path) -> Iterator[tuple[int, bytes]]:
    """Version and parameters of those that learned; while the learner warms up it sends none."""
    return ((version, parameters) for version, parameters in recorded.actor_updates(bag) if parameters)
