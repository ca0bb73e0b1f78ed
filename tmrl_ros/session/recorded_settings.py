"""What a session was set to, from its bag: parameters and calibration, of which its recorder put copies there.

A bag that was copied alone, to another computer, can thus be read as it was meant.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tmrl_ros.data import bag as bags
from tmrl_ros.errors import DataError
from tmrl_ros.parameters import parse_parameters, read_parameters
from tmrl_ros.perception.calibration import Calibration


def parameters(bag: Path, nodes: Collection[str], otherwise: Path | None = None) -> dict[str, dict[str, Any]]:
    """Parameters of each of `nodes`: those beside the bag (or the folder a file of it is in), else the copy in it.

    A bag that has neither takes those of the file `otherwise`, or raises DataError. Raises ConfigError if they name a
    node that is not in `nodes`.
    """
    folder = bag.resolve() if bag.is_dir() else bag.resolve().parent
    beside = folder.parent / bags.PARAMETERS
    if beside.is_file():
        return read_parameters(beside, nodes)
    if attached := bags.attachments(bag).get(bags.PARAMETERS):
        return parse_parameters(attached, f"{bag}: {bags.PARAMETERS}", nodes)
    if otherwise:
        return read_parameters(otherwise, nodes)
    raise DataError(f"{bag} has no {bags.PARAMETERS}, neither in it nor beside it; put that of its session beside it")


def calibration(bag: Path, file: str) -> Calibration:
    """That in the bag, since the cameras may have been calibrated anew; in older bags there is none: `file` then."""
    if attached := bags.attachments(bag).get(bags.CALIBRATION):
        return Calibration.parse(attached, f"{bag}: {bags.CALIBRATION}")
    return Calibration.read(Path(file))
