"""Demonstrations out of the records of a collect session: as they were heard, or from its bag."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tmrl_ros.config import PerceptionConfig, SupervisorConfig, validate
from tmrl_ros.data import store
from tmrl_ros.data.assembler import demonstrations
from tmrl_ros.data.seen import seen_at_rows
from tmrl_ros.errors import DataError
from tmrl_ros.nodes.replay import records
from tmrl_ros.perception.state import published_names
from tmrl_ros.session import graph, recorded_settings
from tmrl_ros.types import ACTION_NAMES


def from_records(
    heard: Iterable, supervisor: SupervisorConfig, perception: PerceptionConfig, calibration: str
) -> tuple[store.Demonstrations | None, Counter[str]]:
    """(the kept episodes or None, how many records made none by reason); `calibration` names that of the cameras."""
    kept, dropped = demonstrations(heard, supervisor.timing)
    if not kept:
        return None, dropped
    meta = store.StoreMeta(
        task=supervisor.task.name,
        seed=supervisor.seed,
        calibration=calibration,
        state_names=published_names(perception),
        action_names=list(ACTION_NAMES),
        action_hz=supervisor.timing.action_hz,
    )
    rows = [(episode.states, episode.actions) for episode in kept]
    return store.collect(rows, meta, *seen_at_rows(kept)), dropped


def from_bag(bag: Path, calibration: str = "") -> tuple[store.Demonstrations, Counter[str]]:
    """The same of a bag, with the settings of its session; an empty `calibration` is the session's own.

    Raises DataError if no whole episode of it was kept.
    """
    parameters = recorded_settings.parameters(bag, graph.MODELS)
    supervisor, perception = (validate(graph.MODELS[name], parameters[name]) for name in ("supervisor", "perception"))
    if not calibration:
        calibration = recorded_settings.calibration(bag, perception.calibration).id if perception.cameras else "unknown"
    made, dropped = from_records(records(bag), supervisor, perception, calibration)
    if made is None:
        raise DataError(f"{bag} holds no demonstration that was kept and is whole ({dict(dropped)}); collect again")
    return made, dropped
