"""A ROS domain for each simulated session, so that two on one machine do not hear each other; a robot has its own."""

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tmrl_ros.errors import ConfigError

NOTE = "ros_domain_id"  # in the run_dir of a session
DOMAIN_IDS = range(1, 101)  # 0 is everybody's default; above 101 the ports meet those the kernel hands out
# UDP ports of a domain, DDSI-RTPS 2.5, 9.6.2.3: its first, on which every participant listens, and one that none uses
FIRST_PORT, PORTS, UNUSED = 7400, 250, 9


def session_domain(robot: bool) -> AbstractContextManager[int]:
    """Where a session is: with a `robot` in the terminal's domain, as ROS has it, for there the driver is heard."""
    return nullcontext(int(os.environ.get("ROS_DOMAIN_ID") or 0)) if robot else reserved_domain()


@contextmanager
def reserved_domain() -> Iterator[int]:
    """A domain id that nobody on this machine's network stack uses; ROS_DOMAIN_ID, where set, is taken as it is.

    The reservation is a bound port, which containers that would hear each other share whatever their file systems are,
    and which the kernel releases with the process. Participants may outlive it, and those of others never had one, so a
    domain on whose first port anybody listens is not free.
    """
    if os.environ.get("ROS_DOMAIN_ID"):
        yield int(os.environ["ROS_DOMAIN_ID"])
        return
    for domain_id in DOMAIN_IDS:
        ports = FIRST_PORT + PORTS * domain_id
        with _udp_socket() as reservation:
            if _binds(reservation, ports + UNUSED) and _is_free(ports):
                yield domain_id
                return
    raise ConfigError(f"all {len(DOMAIN_IDS)} ROS domains are taken by running sessions; end one, or set ROS_DOMAIN_ID")


def _udp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _binds(on: socket.socket, port: int) -> bool:
    try:
        on.bind(("", port))
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with _udp_socket() as probe:
        return _binds(probe, port)


def note(run_dir: Path, domain_id: int) -> None:
    """Leave the domain of a session where `join` finds it."""
    (run_dir / NOTE).write_text(f"{domain_id}\n")


def join(run_dir: Path) -> None:
    """Be in the domain of the session that `tmrl up` started in `run_dir`, unless ROS_DOMAIN_ID says another."""
    file = run_dir / NOTE
    if not os.environ.get("ROS_DOMAIN_ID") and file.is_file():
        os.environ["ROS_DOMAIN_ID"] = file.read_text().strip()
