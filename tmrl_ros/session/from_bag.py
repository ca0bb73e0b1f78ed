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
    learner becomes the very one that the session had. Then `updates` more are made on all of it; None: as the
    parameter file says. Raises DataError if no bag holds a decision of a policy.
    """
    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    values = {"method": method, "base": str(base), "demos": demos}
    config = graph.section("learner", file, seed=seed, **merged(METHODS[method].learner, values))
    updates = config.offline.updates if updates is None else updates
    learner = Learner(config, BasePolicy.load(base), store.read_named(demos))
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
    (policy/relabel.py).
    """
    for bag in bags:
        learned, left_out, dropped = 0, 0, Counter()
        first_decision, first_episode = learner.version, int(learner.replay.episode.max()) + 1
        for transition in replay.transitions(bag, learner.config.timing, dropped):
            decision, episode = first_decision + transition.decision, first_episode + transition.episode
            used = learner.add(replace(transition, decision=decision, episode=episode))
            learned, left_out = learned + used, left_out + (not used)
            if live:
                learner.learn()
        print(_sentence(bag, learned, left_out, dropped))
    if not len(learner.replay):
        raise DataError(f"nothing to learn from in {', '.join(map(str, bags))}; give bags of evaluate or finetune")


def _sentence(bag: Path, learned: int, left_out: int, dropped: dict[str, int]) -> str:
    parts = [f"{learned} decisions"]
    parts += [f"{left_out} cut short, or beyond what the base can do"] if left_out else []
    parts += [f"{count} made no transition: {reason}" for reason, count in dropped.items()]
    return f"{bag}: " + "; ".join(parts)
