"""`python -m tmrl_ros.nodes NAME [--ros-args ...]`: a node where its console script is not on the path."""

import os
import sys
from importlib import import_module

NICE = {"learner": 10}  # while it loads, too: control comes before learning, where they share a machine

if __name__ == "__main__":
    name = sys.argv.pop(1)
    os.nice(NICE.get(name, 0))
    import_module(f"tmrl_ros.nodes.{name}").main()
