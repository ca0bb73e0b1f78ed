"""Stand-ins of ROS packages that the package index lacks: the fields that we use, built for tests.

Where ROS has the real ones they are used, and nothing is built.
"""

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = {
    "franka_msgs": "franka_stand_in",
    "control_msgs": "control_stand_in",
    "controller_manager_msgs": "controller_stand_in",
}


def installed() -> bool:
    """Whether ROS has the real ones."""
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def environment() -> dict[str, str]:
    """What a process needs to import them; the first call builds them below the virtual environment, in a minute."""
    if installed():
        return {}
    prefix = _built()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    added = {
        "PYTHONPATH": prefix / "lib" / version / "site-packages",
        "LD_LIBRARY_PATH": prefix / "lib",
        "AMENT_PREFIX_PATH": prefix,
    }
    return {name: os.pathsep.join([str(path), *_old(name)]) for name, path in added.items()}


def _old(name: str) -> list[str]:
    return [os.environ[name]] if os.environ.get(name) else []


def _built() -> Path:
    files = sorted(path for folder in PACKAGES.values() for path in (HERE / folder).rglob("*") if path.is_file())
    name = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    prefix = Path(sys.prefix) / "stand_ins" / name
    prefix.mkdir(parents=True, exist_ok=True)
    with (prefix / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (prefix / "done").exists():
            _build(prefix)
            (prefix / "done").touch()
    return prefix


def _build(prefix: Path) -> None:
    build, folders = prefix / "build", [HERE / folder for folder in PACKAGES.values()]
    command = ["--log-base", build / "log", "--log-level", "error", "build", "--base-paths", *folders]
    command += ["--build-base", build, "--install-base", prefix, "--merge-install", "--event-handlers", "status-"]
    command += ["--cmake-args", "-G", "Ninja", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={sys.executable}"]
    environment = {**os.environ, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"}
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
        environment[name] = os.pathsep.join([sys.prefix, *_old(name)])
    subprocess.run([sys.executable, "-m", "colcon", *map(str, command)], env=environment, check=True, cwd=prefix)
