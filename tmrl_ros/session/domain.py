"""A ROS domain for each session, so that two on one machine do not hear each other."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tmrl_ros.errors import ConfigError

NOTE = "ros_domain_id"  # in the run_dir of a session
DOMAIN_IDS = range(1, 101)  # 0 is everybody's default; above 101 the ports meet those the kernel hands out


@contextmanager
def reserved_domain(folder: Path | None = None) -> Iterator[int]:
    """A domain id that no other session of this machine has reserved; ROS_DOMAIN_ID, where set, is taken as it is.

    The reservation is a locked file, which the kernel releases with the process.
    """
    if os.environ.get("ROS_DOMAIN_ID"):
        yield int(os.environ["ROS_DOMAIN_ID"])
        return
    folder = folder or Path(tempfile.gettempdir()) / f"tmrl_ros_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for domain_id in DOMAIN_IDS:
        with open(folder / str(domain_id), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain_id
            return
    raise ConfigError(f"all {len(DOMAIN_IDS)} ROS domains are taken by running sessions; end one, or set ROS_DOMAIN_ID")


def note(run_dir: Path, domain_id: int) -> None:
    """Leave the domain of a session where `join` finds it."""
    (run_dir / NOTE).write_text(f"{domain_id}\n")


def join(run_dir: Path) -> None:
    """Be in the domain of the session that `tmrl up` started in `run_dir`, unless ROS_DOMAIN_ID says another."""
    file = run_dir / NOTE
    if not os.environ.get("ROS_DOMAIN_ID") and file.is_file():
        os.environ["ROS_DOMAIN_ID"] = file.read_text().strip()
