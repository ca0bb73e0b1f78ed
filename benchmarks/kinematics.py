"""kinematics.py against a library that reads the FR3's joint origins from a URDF, at random poses.

    python benchmarks/kinematics.py [--poses 10000] [--seed 0]

Reads it with pinocchio where that is installed (`pip install pin`; it is no requirement), and with MuJoCo. Last line:
for each library the largest difference of TCP position, m, of rotation and of Jacobian, by element.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from tmrl_ros import fr3, kinematics

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "robot"))

from urdf_reference import READERS


def compare(reference, poses: int, seed: int) -> dict:
    worst = np.zeros(3)
    for q in np.random.default_rng(seed).uniform(fr3.Q_MIN, fr3.Q_MAX, (poses, 7)):
        ours = (*kinematics.forward(q), kinematics.jacobian(q))
        worst = np.maximum(worst, [np.abs(a - b).max() for a, b in zip(ours, reference(q), strict=True)])
    return dict(zip(("position_m", "rotation", "jacobian"), worst.tolist(), strict=True)) | {"poses": poses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = {}
    for library, reader in READERS.items():
        try:
            reference = reader()
        except ModuleNotFoundError:
            print(f"{library} is not installed: left out", file=sys.stderr)
        else:
            results[library] = compare(reference, options.poses, options.seed)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
