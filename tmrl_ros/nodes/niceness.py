"""Control comes before learning where they share a machine, and learning no later than other programs have to."""

import os
from contextlib import suppress

NICE = {"learner": 10}  # by node, how much nicer than the session it is


def be_nice(name: str) -> None:
    """So much nicer than the process that started this one, unless it is already, as the launch files start it.

    Where the kernel groups processes by session (desktops do) a node that leads one is weighed by its group's niceness.
    """
    by = NICE.get(name)
    if not by:
        return
    session = os.getpriority(os.PRIO_PROCESS, os.getppid())
    os.nice(max(0, session + by - os.nice(0)))
    if os.getsid(0) == os.getpid():
        with suppress(OSError), open("/proc/self/autogroup", "w") as group:
            group.write(str(by))
