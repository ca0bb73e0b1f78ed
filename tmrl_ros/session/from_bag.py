"""`tmrl train --from-bag`: the learner's experience rebuilt from recordings alone, and learned from without a robot."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tmrl_ros.config import METHODS
from tmrl_ros.data import store
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import Learner
from tmrl_ros.nodes import replay
from tmrl_ros.parameters import merged, write_parameters
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.session import graph
from tmrl_ros.session.progress import update_progress
from tmrl_ros.types import Label


def run(
    bags: Sequence[Path],
    base: Path,
    out: Path,
    method: str,
    demos: str,
    updates: int | None,
    live: bool,
    seed: int,
    file: str,
) -> Learner:
    """Learn from `bags`, in their order; out/actor and out/learner are the outcome.

    With `live` each decision buys its updates as in the session: from one bag alone, with the session's settings, the
    learner becomes the very one that the session had (if the bag has a person's labels where the learner heard them).
    Then `updates` more are made on all of it; None: as the parameter file says. Raises DataError if no bag holds a
    decision that the method can learn from.
    """
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    values = {"method": method, "base": str(base), "demos": demos}
    config = graph.section("learner", file, seed=seed, **merged(METHODS[method].learner, values))
    updates = config.offline.updates if updates is None else updates
    stores = (store.read_named(path) for path in (config.demos, config.corrections))
    learner = Learner(config, BasePolicy.load(base), *stores)
    rebuild(learner, bags, live)
    with update_progress(f"{method} from bags", updates) as progress:
        for update in range(1, updates + 1):
            progress(update, learner.update())
    learner.save(out / "learner")
    learner.save_actor(out / "actor")
    write_parameters(out / "parameters.yaml", {"learner": config.model_dump(mode="json")})
    return learner


def rebuild(learner: Learner, bags: Sequence[Path], live: bool = False) -> None:
    """Fill the learner's replay with the decisions in `bags`, and say what was in each.

    Decisions and episodes count on from bag to bag. What a person did enters as the method can use it
    (policy/relabel.py); what a person said of an episode is what it earned.
    """
    learned_in_all, next_episode = 0, int(learner.replay.episode.max()) + 1
    for bag in bags:
        learned, left_out, dropped = 0, 0, Counter()
        first_decision, first_episode = learner.version, next_episode
        for record in replay.experience(bag, learner.config.timing, dropped):
            record = replace(record, episode=first_episode + record.episode)
            next_episode = max(next_episode, record.episode + 1)
            if isinstance(record, Label):
                learner.label(record.episode, record.success)
                continue
            used = learner.add(replace(record, decision=first_decision + record.decision))
            learned, left_out = learned + used, left_out + (not used)
            if live:
                learner.learn()
        if learner.labels:  # of an episode that was cut: no more of it comes
            learner.settle(next_episode)
        print(_sentence(bag, learned, left_out, dropped, len(learner.unfound)))
        learner.unfound.clear()
        learned_in_all += learned
    if not learned_in_all:
        raise DataError(
            f"nothing to learn from in {', '.join(map(str, bags))}; give bags of finetune, or of evaluate with an "
            f"actor, of method {learner.config.method}"
        )


def _sentence(bag: Path, learned: int, left_out: int, dropped: dict[str, int], unfound: int) -> str:
    parts = [f"{learned} decisions"]
    parts += [f"{left_out} cut short, beyond what the base can do, or of another method"] if left_out else []
    parts += [f"{unfound} labels of episodes without a decision"] if unfound else []
    parts += [f"{count} made no transition: {reason}" for reason, count in dropped.items()]
    return f"{bag}: " + "; ".join(parts)
