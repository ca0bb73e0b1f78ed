"""`tmrl data`: look after demonstration stores and bags, and exchange them with other data sets.

Zarr and matplotlib are imported where they are used, so that other commands start fast.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tmrl_ros.errors import DataError

app = typer.Typer(no_args_is_help=True, help="List, check, edit, import, export and show demonstrations.")
DAMAGED = 2

Store = Annotated[Path, typer.Argument(help="Demonstration store.")]
Out = Annotated[Path, typer.Argument(help="Folder for the new store; it must not exist.")]


@app.command("list")
def list_(folder: Annotated[Path, typer.Argument(help="Where to look, with what is below.")] = Path("runs")) -> None:
    """Stores and bags in a folder, with what they say they hold; `check` finds out whether it is true."""
    from rich.console import Console
    from rich.table import Column, Table

    from tmrl_ros.data import catalog

    numbers = [Column(name, justify="right") for name in ("episodes", "rows or messages", "MB")]
    table = Table("path", "kind", "task", *numbers, "images", box=None)
    found = list(catalog.find(folder))
    for entry in found:
        counts = [str(count) if count is not None else "" for count in (entry.episodes, entry.rows)]
        path = str(entry.path.relative_to(folder)) + (f"  ({entry.problem})" if entry.problem else "")
        table.add_row(path, entry.kind, entry.task, *counts, f"{entry.size_bytes / 1e6:.1f}", entry.images)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table if found else f"No store and no bag in {folder}")


@app.command()
def check(paths: Annotated[list[Path], typer.Argument(help="Stores and bags.")]) -> None:
    """Read everything and compare it with its checksums; status 2 if anything is damaged."""
    from tmrl_ros.data import catalog

    damaged = False
    for path in paths:
        try:
            print(f"{path}: whole, {catalog.check(path)}")
        except DataError as error:
            damaged = True
            print(f"tmrl: {error}", file=sys.stderr)
    if damaged:
        raise typer.Exit(DAMAGED)


@app.command()
def merge(out: Out, stores: Annotated[list[Path], typer.Argument(help="Stores of the same task.")]) -> None:
    """All episodes of several stores in one."""
    from tmrl_ros.data import edit, store

    _write(out, edit.merge([store.read(path) for path in stores]))


@app.command()
def trim(
    demos: Store,
    out: Out,
    head: Annotated[int, typer.Option(min=0, help="Rows to cut off the beginning of each episode.")] = 0,
    tail: Annotated[int, typer.Option(min=0, help="Rows to cut off its end.")] = 0,
    drop: Annotated[list[int] | None, typer.Option(help="Episode to leave out; may be given several times.")] = None,
) -> None:
    """Cut rows off the ends of episodes, or leave episodes out."""
    from tmrl_ros.data import edit, store

    _write(out, edit.trim(store.read(demos), head, tail, drop or []))


@app.command()
def shrink(
    demos: Store,
    out: Out,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the WebP that each image becomes.")] = 85,
) -> None:
    """Keep the images lossy, in about a twentieth of the space. Do it last: other edits keep every pixel again."""
    from tmrl_ros.data import edit, store

    _write(out, edit.shrunk(store.read(demos), quality), quality)


@app.command()
def split(
    demos: Store,
    first: Out,
    second: Out,
    share: Annotated[float, typer.Option(help="Of the episodes that go to the first part.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Divide the episodes between two stores, such as training and held-out ones."""
    from tmrl_ros.data import edit, store

    for out in (first, second):  # both or none
        if out.exists():
            raise DataError(f"{out} already exists; choose another folder or remove it")
    for out, part in zip((first, second), edit.split(store.read(demos), share, seed), strict=True):
        _write(out, part)


@app.command()
def plot(
    demos: Store,
    out: Annotated[Path | None, typer.Argument(help="Picture to write; none: beside the store.")] = None,
) -> None:
    """Paths of the hand from above and from the side, and how the actions spread."""
    from tmrl_ros.data import store
    from tmrl_ros.session.demo_plot import plot_demonstrations

    out = out or demos.with_suffix(".png")
    plot_demonstrations(store.read(demos), out)
    print(out)


@app.command()
def play(
    demos: Store,
    out: Annotated[Path | None, typer.Argument(help="GIF to write; none: beside the store.")] = None,
    episode: Annotated[int, typer.Option(min=0, help="Which, from 0.")] = 0,
) -> None:
    """One episode as a moving picture, in its own time: its images, or the path of the hand where there are none."""
    from tmrl_ros.data import store
    from tmrl_ros.session.demo_plot import film_episode

    out = out or demos.with_name(f"{demos.stem}_{episode}.gif")
    film_episode(store.read(demos), episode, out)
    print(out)


@app.command()
def export(
    demos: Store,
    out: Annotated[Path, typer.Argument(help="Folder for the data set; it must not exist.")],
    to: Annotated[Literal["lerobot"], typer.Option(help="lerobot: a LeRobotDataset v3.0, images as PNG.")] = "lerobot",
    robot: Annotated[str, typer.Option(help="What the data set calls the robot.")] = "fr3",
) -> None:
    """Write a store as a data set that other software reads."""
    from tmrl_ros.data import lerobot_export, store

    demonstrations = store.read(demos)
    lerobot_export.export(demonstrations, out, robot)
    print(f"{out}: {to}, {len(demonstrations.ends)} episodes, {len(demonstrations.states)} rows")


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="Bag of a collect session, LeRobotDataset v3.0, or HDF5 of robomimic.")
    ],
    out: Out,
    kind: Annotated[
        Literal["auto", "bag", "lerobot", "robomimic"], typer.Option("--from", help="auto: look.")
    ] = "auto",
    state: Annotated[
        list[str] | None, typer.Option(help="Key that becomes part of the state; may be given several times.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=CAMERA]", help="Key of images; may be given several times.")
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Take no images.")] = False,
    task: Annotated[str, typer.Option(help="What to call the task; empty: as the data set does.")] = "",
    only: Annotated[str, typer.Option(help="The one task to take, where a LeRobotDataset has several.")] = "",
    hz: Annotated[int, typer.Option(min=0, help="Rows a second; 0: as the data set says.")] = 0,
    calibration: Annotated[str, typer.Option(help="Identity of the camera calibration; empty: as recorded.")] = "",
) -> None:
    """Make a store of what a person showed in a collect session, or of a data set that other software wrote."""
    from tmrl_ros.data import exchange, lerobot_import, robomimic

    images = {} if no_images else _cameras(image or []) or None
    found = exchange.kind_of(source) if kind == "auto" else kind
    if found == "bag":
        return _from_bag(source, out, calibration)
    wanted = exchange.Wanted(tuple(state or ()), images, task, only, hz, calibration or "unknown")
    _write(out, (lerobot_import if found == "lerobot" else robomimic).read(source, wanted))


def _from_bag(bag: Path, out: Path, calibration: str) -> None:
    from tmrl_ros.session import collected

    demonstrations, dropped = collected.from_bag(bag, calibration)
    _write(out, demonstrations)
    for reason, count in dropped.items():
        print(f"left out: {count}, {reason}")


def _cameras(options: list[str]) -> dict[str, str]:
    """Cameras by key, from KEY=CAMERA or KEY alone."""
    from tmrl_ros.data.exchange import cameras

    pairs = [option.partition("=") for option in options]
    named = {key: camera or cameras([key])[key] for key, _, camera in pairs}
    if len(set(named.values())) < len(options):
        raise DataError(f"Two --image options are the same key or camera: {', '.join(options)}; name them KEY=CAMERA")
    return named


def _write(out: Path, demonstrations, quality: int | None = None) -> None:
    from tmrl_ros.data import store

    store.write(out, demonstrations, quality)
    print(f"{out}: {len(demonstrations.ends)} episodes, {len(demonstrations.states)} rows")
