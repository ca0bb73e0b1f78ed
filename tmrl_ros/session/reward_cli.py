"""`tmrl reward`: from recorded episodes that a person judged to a classifier that says success on the robot."""

from pathlib import Path
from typing import Annotated

import typer

from tmrl_ros.errors import DataError

app = typer.Typer(no_args_is_help=True, help="A classifier that says when the task is done.")
ParamsFile = Annotated[str, typer.Option(help="Parameter file, its section reward; empty: config/sim.yaml.")]


@app.command()
def label(
    bags: Annotated[list[Path], typer.Argument(help="Bags of sessions with cameras.")],
    out: Annotated[Path, typer.Argument(help="File of labelled frames to write, .safetensors.")],
    inputs: Annotated[str, typer.Option(help="Images and cloud to keep, by spaces; empty: all there are.")] = "",
    believe: Annotated[
        bool, typer.Option("--believe", help="Also take what a reward source said, not a person alone.")
    ] = False,
    params_file: ParamsFile = "",
) -> None:
    """Frames of the episodes that a person labelled or kept: the last ones of a success show it."""
    from tmrl_ros.nodes import replay
    from tmrl_ros.reward import frames
    from tmrl_ros.session import graph

    if out.exists():
        raise DataError(f"{out} already exists; choose another file or remove it")
    config = graph.section("reward", params_file).training
    episodes = (found for bag in bags for found in frames.labelled(replay.records(bag), config, believe))
    made = frames.gather(episodes, inputs.split())
    frames.write(out, made)
    shows, not_, doubt = ((made.labels == value).sum() for value in (1, 0, -1))
    print(f"{out}: {made.episodes.max() + 1} episodes, {shows} frames show success, {not_} do not, {doubt} in doubt")


@app.command()
def train(
    frames: Annotated[list[Path], typer.Argument(help="Files that `tmrl reward label` wrote.")],
    out: Annotated[Path, typer.Argument(help="Folder for the classifier.")],
    seed: Annotated[int, typer.Option(min=0, help="Of weights, batches and held-out episodes.")] = 0,
    params_file: ParamsFile = "",
) -> None:
    """Train on most of the episodes, judge on the others; what is not precise there is not written."""
    from tmrl_ros.reward import frames as stored
    from tmrl_ros.reward import training
    from tmrl_ros.session import graph
    from tmrl_ros.session.progress import update_progress

    if out.exists():
        raise DataError(f"{out} already exists; choose another folder or remove it")
    config = graph.section("reward", params_file).training
    read = stored.joined([stored.read(path) for path in frames])
    with update_progress("reward", config.steps, "reward/loss") as progress:
        report = training.train(read, config, seed, out, lambda step, loss: progress(step, {"reward/loss": loss}))
    print(f"{out}: {report}")
