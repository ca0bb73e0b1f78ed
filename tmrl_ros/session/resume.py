"""Where a session that was stopped, by whatever, goes on: what it had used and counted, as its run folder tells.

The bag has what the recorder heard, the learner's log every decision that was learned from; whichever is ahead counts.
Neither loses more than a kill's last half second of wall time, and the log no decision that an actor version counted.
"""

import json
from pathlib import Path
from typing import Any

from tmrl_ros.config import Resume
from tmrl_ros.data import transition_log
from tmrl_ros.errors import DataError
from tmrl_ros.nodes import replay
from tmrl_ros.parameters import read_parameters
from tmrl_ros.session import summary
from tmrl_ros.types import Decision, EpisodeEvent, SessionStatus

# Parameters in which a session that goes on may differ from what it was.
FREE = {
    ("supervisor", "resume"),
    ("supervisor", "session_min"),
    ("recorder", "resume"),
    *(("recorder", name) for name in ("topics", "segment_s", "compression", "sync_s", "limit_gb", "free_gb")),
    ("policy", "actor"),
    ("learner", "catch_up"),
    ("learner", "checkpoint_episodes"),
    ("learner", "log_sync_s"),
}


def overrides(run: Path) -> dict[str, dict[str, Any]]:
    """Parameters by node, in dotted names, with which the session in the folder `run` goes on."""
    if not any((run / "bag").glob("*.mcap")):
        raise DataError(f"{run} holds no session that could go on (no bag in it); leave resume out to start one")
    actor = run / "checkpoints" / transition_log.ACTOR
    acts = actor.is_dir() and _updates(run / "checkpoints" / transition_log.STATE) > 0
    counted = point(run).model_dump()
    return {
        "supervisor": {f"resume.{name}": value for name, value in counted.items()},
        "recorder": {"resume": True},
        "policy": {"actor": str(actor)} if acts else {},  # while warming up the prior acts
        "learner": {"catch_up": str(run / "bag")},
    }


def point(run: Path) -> Resume:
    """What the session in `run` had used and counted when it was last heard of."""
    records = list(replay.progress(run / "bag"))
    log = run / "checkpoints" / transition_log.LOG
    learned = list(transition_log.read(log)) if log.exists() else []
    statuses = [record for record in records if isinstance(record, SessionStatus)]
    decisions = [record for record in records if isinstance(record, Decision)] + learned
    events = [record for record in records if isinstance(record, EpisodeEvent)]
    ended = {event.episode for event in events if event.kind == "ended"}
    outcomes = [event.success for event in summary.outcomes(events)]
    outcomes += [t.success for t in learned if t.episode not in ended and (t.terminated or t.truncated)]
    return Resume(
        robot_time_s=max((record.robot_time_s for record in [*records, *learned]), default=0.0),
        next_episode=max(
            [record.episode + 1 for record in [*events, *decisions]] + [status.episode for status in statuses],
            default=0,
        ),
        decisions=max(
            [decision.decision + 1 for decision in decisions] + [status.decisions for status in statuses], default=0
        ),
        episodes=max([len(outcomes)] + [status.episodes for status in statuses]),
        successes=max([sum(outcomes)] + [status.successes for status in statuses]),
        holds=max((status.holds for status in statuses), default=0),
    )


def _updates(checkpoint: Path) -> int:
    """How many updates the learner had made; 0 where that cannot be read, for the policy will be told."""
    try:
        return int(json.loads((checkpoint / "meta.json").read_bytes())["updates"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def check_parameters(file: Path, parameters: dict[str, dict[str, Any]]) -> None:
    """Refuse, by name, to go on with other parameters than those in `file`, which the session left there."""
    if not file.exists():
        raise DataError(f"{file} does not exist, so the session cannot go on; start another in a new run_dir")
    before = read_parameters(file, parameters)
    for node, values in parameters.items():
        for name, value in _flat(values).items():
            key, was = name.split(".")[0], _flat(before[node]).get(name, value)
            if (node, key) not in FREE and was != value:
                why = f"the session was started with {node}.{name} = {was!r}, not {value!r}"
                raise DataError(f"{why}; go on with the same arguments")


def is_resumed(parameters: dict[str, dict[str, Any]]) -> bool:
    return bool(parameters.get("recorder", {}).get("resume"))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
