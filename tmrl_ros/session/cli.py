"""The `tmrl` command. Expected failures are one sentence on stderr and exit status 2."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tmrl_ros import __version__
from tmrl_ros.config import SimulatedTask
from tmrl_ros.errors import ConfigError, TmrlError
from tmrl_ros.session import calibrate_cli, data_cli, reward_cli

app = typer.Typer(no_args_is_help=True, add_completion=False, help="One hour at a Franka, simulated or real.")
app.add_typer(data_cli.app, name="data")
app.add_typer(reward_cli.app, name="reward")
app.command()(calibrate_cli.calibrate)
INTERRUPTED = 130
Task = Annotated[SimulatedTask, typer.Option(help="What is simulated; a robot learns any: `tmrl up`, sim:=false.")]
BiasCm = Annotated[float, typer.Option(min=0, max=20, help="How far the camera was knocked.")]
Learning = Literal["tmrl", "dsrl", "rfs", "residual", "rlpd"]
LearnedBy = Annotated[Learning, typer.Option(help="How it learns.")]
Method = Literal["base", Learning]
ParamsFile = Annotated[str, typer.Option(help="Parameter file; empty: config/sim.yaml.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None: ...


@app.command()
def demo(
    task: Task = "pick_cube",
    method: LearnedBy = "tmrl",
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.1, help="Robot minutes of fine-tuning, resets included.")] = 60.0,
    bias_cm: BiasCm = 5.0,
    observe: Annotated[Literal["objects", "cloud", "image"], typer.Option(help="What the policy sees.")] = "objects",
    demos: Annotated[int, typer.Option(min=1, help="Demonstrations to collect.")] = 80,
    corrections: Annotated[
        int, typer.Option(min=0, help="Episodes that a person shows at deployment; their minutes count.")
    ] = 0,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each evaluation.")] = 100,
    name: Annotated[str, typer.Option(help="Folder under runs/; empty: after task, method and seed.")] = "",
    in_process: Annotated[bool, typer.Option("--in-process", help="The same job without ROS or bags.")] = False,
) -> None:
    """Collect, pre-train, evaluate, fine-tune for a simulated robot-hour, evaluate, report."""
    from tmrl_ros.session import demo as story

    story.run(
        task=task,
        method=method,
        seed=seed,
        minutes=minutes,
        bias_cm=bias_cm,
        observe=observe,
        demos=demos,
        corrections=corrections,
        episodes=episodes,
        name=name,
        in_process=in_process,
    )


def _show_args(wanted: bool) -> None:
    if wanted:
        from tmrl_ros.session.arguments import arguments
        from tmrl_ros.session.graph import ReplayOptions, SessionOptions

        for kinds, model in (("collect, evaluate, finetune", SessionOptions), ("replay", ReplayOptions)):
            print(f"{kinds}:")
            for entry in arguments(model):
                choices = f" ({', '.join(entry.choices)})" if entry.choices else ""
                print(f"  {entry.name + ':=' + entry.default:<26} {entry.description}{choices}")
        raise typer.Exit


@app.command()
def up(
    kind: Annotated[Literal["collect", "evaluate", "finetune", "replay"], typer.Argument(help="Which session.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[NAME:=VALUE]...", help="See --show-args.")] = None,
    show_args: Annotated[
        bool, typer.Option("--show-args", "-s", callback=_show_args, is_eager=True, help="Print every NAME and VALUE.")
    ] = False,
) -> None:
    """Start a session's nodes as processes, as `ros2 launch tmrl_ros KIND.launch.py` does, with the same arguments.

    A replay has status 1 if a node publishes something else than was recorded.
    """
    if kind == "replay":
        from tmrl_ros.session import playing

        raise typer.Exit(0 if playing.run(arguments or []) else 1)
    from tmrl_ros.session import graph, starter
    from tmrl_ros.session.arguments import parse
    from tmrl_ros.session.progress import SessionProgress
    from tmrl_ros.teleop.keyboard import HELP

    options = parse(arguments or [])
    if kind == "collect" and options.device == "keyboard":
        print(HELP)
    specs = graph.build(kind, options)
    with SessionProgress(kind, options) as progress:
        status = starter.run_session(specs, Path(options.run_dir), progress, progress.say, options.namespace)
    raise typer.Exit(status)


@app.command()
def pretrain(
    demos: Annotated[Path, typer.Argument(help="Demonstration store.")],
    out: Annotated[Path, typer.Argument(help="Folder for the base policy.")],
    kind: Annotated[
        Literal["", "csp", "plain"],
        typer.Option(help="With context smoothing, or without; empty: as the file says."),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of weights and batches.")] = 0,
    params_file: ParamsFile = "",
) -> None:
    """Train the base policy on demonstrations."""
    from tmrl_ros.session import graph
    from tmrl_ros.session import pretrain as stage

    policy = {"policy": {"kind": kind}} if kind else {}
    stage.run(demos, out, graph.section("pretrain", params_file, seed=seed, **policy))


@app.command()
def train(
    base: Annotated[Path, typer.Argument(help="Base policy.")],
    out: Annotated[Path, typer.Argument(help="Folder for the run: actor, checkpoints or logs.")],
    method: LearnedBy = "tmrl",
    offline: Annotated[bool, typer.Option("--offline", help="From --demos or --checkpoint, without a robot.")] = False,
    demos: Annotated[str, typer.Option(help="Store of demonstrations or corrections.")] = "",
    checkpoint: Annotated[str, typer.Option(help="Offline: a session's checkpoints/learner to learn on from.")] = "",
    from_bag: Annotated[
        list[Path] | None, typer.Option("--from-bag", help="Learn from this recording alone; may be given repeatedly.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="From bags: each decision buys the updates that it bought in the session.")
    ] = False,
    updates: Annotated[
        int | None, typer.Option(min=0, help="From bags: how many more at the end; empty: offline.updates of the file.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Robot minutes in simulation, resets included.")] = 60.0,
    task: Task = "pick_cube",
    bias_cm: BiasCm = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    params_file: ParamsFile = "",
) -> None:
    """Fine-tune in simulation in this process, offline, or from bags; over ROS it is `tmrl up finetune`."""
    from tmrl_ros.session import training

    if from_bag:
        from tmrl_ros.session import from_bag as recordings

        if offline or checkpoint:
            raise ConfigError("--from-bag is a source of its own; leave --offline and --checkpoint out")
        recordings.run(from_bag, base, out, method, demos, updates, live, seed, params_file)
    elif offline:
        training.offline(base, out, method, demos, checkpoint, seed, params_file)
    else:
        training.online(base, out, method, demos, minutes, task, bias_cm, seed, params_file)


@app.command()
def evaluate(
    base: Annotated[Path, typer.Argument(help="Base policy.")],
    out: Annotated[Path, typer.Argument(help="Folder for its episodes and summary.")],
    actor: Annotated[str, typer.Option(help="Folder of an actor checkpoint; empty: the base alone.")] = "",
    method: Annotated[Method, typer.Option(help="How the actor learned.")] = "tmrl",
    episodes: Annotated[int, typer.Option(min=1, help="How many, each from a fresh start state.")] = 100,
    task: Task = "pick_cube",
    bias_cm: BiasCm = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of start states and noise.")] = 0,
    params_file: ParamsFile = "",
) -> None:
    """Success of a policy in simulation, in this process; over ROS it is `tmrl up evaluate`."""
    from tmrl_ros.session import training

    rate = training.evaluate(base, out, actor, method, episodes, task, bias_cm, seed, params_file)
    print(f"success {rate['value']:.2f} of {rate['n']} episodes, 95 % interval {rate['low']:.2f} to {rate['high']:.2f}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    picture: Annotated[Path, typer.Option(help="PNG to write.")] = Path("compare.png"),
) -> None:
    """Runs side by side: success, robot-minutes to 80 % and 95 %, and a picture of success over robot time."""
    from tmrl_ros.session import compare as comparing

    print(comparing.run(runs, picture))
    print(picture.resolve().as_uri())


@app.command()
def replay(
    bag: Annotated[Path, typer.Argument(help="Bag of a finished session.")],
    base: Annotated[Path | None, typer.Option(help="Base policy, where it is no longer where it was.")] = None,
) -> None:
    """Compare what policy and assembler make of a bag with what was recorded; status 1 if anything differs."""
    from tmrl_ros.session import replay as comparing

    raise typer.Exit(0 if comparing.run(bag, base).same else 1)


@app.command()
def actor(
    bag: Annotated[Path, typer.Argument(help="Bag of a finetune session.")],
    out: Annotated[Path | None, typer.Argument(help="Folder for the actor; left out: nothing is written.")] = None,
    version: Annotated[int | None, typer.Option(min=0, help="Which one; left out: what there is is listed.")] = None,
    base: Annotated[Path | None, typer.Option(help="Base policy, where it is no longer where it was.")] = None,
) -> None:
    """Go back to an earlier actor: list the versions in a bag, or write one for `tmrl evaluate` and actor:=OUT."""
    from tmrl_ros.session import actor_versions

    if version is None:
        actor_versions.say(bag)
        print(f"write one: tmrl actor {bag} {out or 'OUT'} --version N")
    elif out is None:
        raise ConfigError(f"--version {version} needs a folder: tmrl actor {bag} OUT --version {version}")
    else:
        actor_versions.write(bag, out, version, base)
        print(f"{out}: version {version}")


@app.command()
def preflight(
    seconds: Annotated[float, typer.Option(min=1, max=60, help="How long to listen.")] = 3.0,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the robot.")] = "",
    params_file: Annotated[str, typer.Option(help="Parameter file; empty: config/real.yaml.")] = "",
) -> None:
    """Is the robot ready for a session? Listens, commands nothing; status 2 if something has to be put right."""
    from tmrl_ros.session import preflight as listening

    raise typer.Exit(listening.run(seconds, namespace, params_file))


@app.command()
def operate(
    run: Annotated[Path, typer.Argument(help="run_dir of the session.")] = Path("runs/session"),
    name: Annotated[str, typer.Option(help="Of the operator; one at a time has a session.")] = "operator",
    namespace: Annotated[str, typer.Option(help="ROS namespace of the session.")] = "",
    terminal: Annotated[str, typer.Option(help="Whose keys are read.")] = "/dev/tty",
) -> None:
    """Start, resume, label and end a session from the keyboard, and be there for it.

    Where `ros2 launch` started it, ROS_DOMAIN_ID says which.
    """
    from tmrl_ros.session import domain
    from tmrl_ros.session import operate as operating

    domain.join(run)
    operating.run(name, terminal, namespace)


@app.command()
def view(
    run: Annotated[
        Path, typer.Argument(help="run_dir of the session, or of the one whose bag is played; or a parameter file.")
    ] = Path("runs/session"),
    file: Annotated[Path | None, typer.Option(help="MCAP file to write too; leaves when the session ends.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: a free one.")] = 8765,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the session.")] = "",
    look_hz: Annotated[float, typer.Option(min=0.1, max=30, help="Looks a second, of wall time.")] = 5.0,
    layout: Annotated[Path | None, typer.Option(help="Write a layout for the viewer to this file, and leave.")] = None,
) -> None:
    """What perception sees, live in Foxglove or Lichtblick, beside a session or a replay.

    Where `ros2 launch` started it, ROS_DOMAIN_ID says which.
    """
    from tmrl_ros.session import domain, foxglove_layout
    from tmrl_ros.session import view as viewing

    if layout:
        foxglove_layout.write(layout, list(viewing.settings(run)[0].cameras))
    else:
        domain.join(run)
        viewing.run(run, file, port, namespace, look_hz)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or run_dir of a finetune session.")],
    before: Annotated[Path | None, typer.Option(help="run_dir of a session that evaluated the base policy.")] = None,
    after: Annotated[Path | None, typer.Option(help="run_dir of a session that evaluated what was learned.")] = None,
) -> None:
    """Write the report of a run: of `tmrl demo` again, of a session on a robot from its bag."""
    from tmrl_ros.session import recorded_run
    from tmrl_ros.session.report import write_report

    if (run / "bag").is_dir():
        recorded_run.write(run, before, after)
    print(write_report(run))


def main() -> None:
    """Console script."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as nodes have it: sums are added in the same order everywhere
    try:
        status = app(standalone_mode=False)
    except TmrlError as error:
        print(f"tmrl: {error}", file=sys.stderr)
        status = 2
    except typer.TyperException as error:
        print(f"tmrl: {error.format_message()}", file=sys.stderr)
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    sys.exit(status or 0)


if __name__ == "__main__":
    main()
