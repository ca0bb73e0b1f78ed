"""`python -m tmrl_ros.nodes NAME [--ros-args ...]`: a node where its console script is not on the path."""

import os
import sys
from contextlib import suppress
from importlib import import_module

NICE = {"learner": 10}  # while it loads, too: control comes before learning, where they share a machine


def be_nice(nice: int) -> None:
    """At least so nice, however the session was started.

    Where the kernel groups processes by session (desktops do) a node that leads one is weighed by its group's niceness.
    """
    os.nice(max(0, nice - os.nice(0)))
    if os.getsid(0) == os.getpid():
        with suppress(OSError), open("/proc/self/autogroup", "w") as group:
            group.write(str(nice))


if __name__ == "__main__":
    name = sys.argv.pop(1)
    if name in NICE:
        be_nice(NICE[name])
    import_module(f"tmrl_ros.nodes.{name}").main()
