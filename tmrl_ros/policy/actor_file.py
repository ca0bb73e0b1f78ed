"""Actor and critics as they travel: named tensors in safetensors, over the wire and in a checkpoint folder."""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from tmrl_ros.config import ActorConfig, validate
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.policy.actor import Actor, Critic
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import read_checkpoint, write_checkpoint
from tmrl_ros.policy.steering import Steering

FORMAT = "tmrl_actor/2"


def actor_tensors(actor: Actor, critic: Critic) -> dict[str, Tensor]:
    """Named tensors of both networks."""
    modules = {"actor": actor, "critic": critic}
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def build_actor(tensors: dict[str, Tensor], steering: Steering) -> tuple[Actor, Critic]:
    """Frozen networks from named tensors; raises DataError if their shapes do not fit the modulation settings."""
    try:
        with torch.random.fork_rng(devices=[]):  # a learner beside it must not feel these draws
            one = steering.build(1)[1].theta.numel()
            actor, critic = steering.build(len(tensors["critic.theta"]) // one)
        for name, module in (("actor", actor), ("critic", critic)):
            module.load_state_dict(
                {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            )
    except (KeyError, RuntimeError) as error:
        raise DataError(
            f"actor does not fit the modulation settings ({str(error).splitlines()[-1].strip()}); "
            "use the settings it was trained with"
        ) from None
    return _frozen(actor), _frozen(critic)


def parse_actor(data: bytes) -> dict[str, Tensor]:
    """Named tensors from the bytes of an ActorUpdate; raises DataError if they are not safetensors."""
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # the library raises its own type, and others for short input
        raise DataError(f"actor update of {len(data)} bytes is not safetensors: {error}") from None


def write_actor(folder: Path, actor: Actor, critic: Critic, steering: Steering, version: int) -> None:
    """Write what acting needs beside the base: actor, critics, and the bounds and horizon with which they learned."""
    meta = {
        "format": FORMAT,
        "version": version,
        "modulation": steering.config.model_dump(),
        "execution_horizon": steering.rows,
    }
    write_checkpoint(folder, actor_tensors(actor, critic), meta)


def load_actor(folder: Path, base: BasePolicy, execution_horizon: int) -> tuple[Steering, Actor, Critic, int]:
    """Steering, networks and version from a checkpoint folder; its own modulation settings hold.

    Raises ConfigError if it learned with another execution horizon: chunks cut elsewhere make the arm jump.
    """
    tensors, meta = read_checkpoint(folder, FORMAT)
    if meta["execution_horizon"] != execution_horizon:
        raise ConfigError(
            f"{folder} learned with timing.execution_horizon = {meta['execution_horizon']}, not {execution_horizon}; "
            "set it to that or fine-tune again"
        )
    steering = Steering(validate(ActorConfig, meta["modulation"]), base, execution_horizon)
    return steering, *build_actor(tensors, steering), meta["version"]


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)
