"""`python -m tmrl_ros.nodes NAME [--ros-args ...]`: a node where its console script is not on the path."""

import sys
from importlib import import_module

if __name__ == "__main__":
    import_module(f"tmrl_ros.nodes.{sys.argv.pop(1)}").main()
