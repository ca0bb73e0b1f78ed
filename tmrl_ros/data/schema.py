"""Message definitions as a bag carries them: the text of the .msg file and, after it, of every message it contains."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.errors import DataError

PRIMITIVE = {"bool", "byte", "char", "string", "wstring", "float32", "float64"}
PRIMITIVE |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
# A field line: type (with an optional package), a bound or array suffix, then a name that is not a constant's.
FIELD = re.compile(r"^\s*(?:([a-z]\w*)/(?:msg/)?)?([A-Za-z]\w*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[a-z]\w*", re.M)


def share_folders() -> list[Path]:
    """Where installed packages keep their definitions: the ament prefixes, then the Python environment itself."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    return [Path(prefix) / "share" for prefix in dict.fromkeys(prefixes) if prefix]


def definition(type_name: str, shares: Sequence[Path] | None = None) -> str:
    """Full ros2msg text of `type_name` ("package/msg/Type"), with its dependencies in the manner of rosbag2."""
    shares = share_folders() if shares is None else shares
    package, _, name = type_name.split("/")
    parts, todo, seen = [], [(package, name)], {(package, name)}
    while todo:
        package, name = todo.pop(0)
        text = _find(package, f"{name}.msg", shares).read_text()
        parts.append(text if not parts else f"{'=' * 80}\nMSG: {package}/{name}\n{text}")
        for dependency in _dependencies(text, package):
            if dependency not in seen:
                seen.add(dependency)
                todo.append(dependency)
    return "\n".join(parts)


def type_hash(type_name: str, shares: Sequence[Path] | None = None) -> str:
    """The RIHS01 hash that DDS discovery and rosbag2 use to tell versions of a type apart."""
    package, _, name = type_name.split("/")
    description = json.loads(_find(package, f"{name}.json", share_folders() if shares is None else shares).read_text())
    return next(entry["hash_string"] for entry in description["type_hashes"] if entry["type_name"] == type_name)


def _dependencies(text: str, package: str) -> list[tuple[str, str]]:
    lines = re.sub(r"#.*", "", text)
    return [(other or package, name) for other, name in FIELD.findall(lines) if other or name not in PRIMITIVE]


def _find(package: str, file: str, shares: Sequence[Path]) -> Path:
    for share in shares:
        path = share / package / "msg" / file
        if path.is_file():
            return path
    looked = ", ".join(map(str, shares))
    raise DataError(f"{package}/msg/{file} is not under {looked}; build the workspace and source its setup file")
