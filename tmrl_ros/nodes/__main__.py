"""`python -m tmrl_ros.nodes NAME [--ros-args ...]`: a node where its console script is not on the path."""

import sys
from importlib import import_module

from tmrl_ros.nodes.niceness import be_nice

if __name__ == "__main__":
    name = sys.argv.pop(1)
    be_nice(name)  # before what takes long to load
    import_module(f"tmrl_ros.nodes.{name}").main()
