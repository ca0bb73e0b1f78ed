"""Checkpoints: a folder with tensors.safetensors and meta.json, written beside and renamed: a kill leaves old or new.

meta.json carries the SHA-256 of the tensors and of itself, so damage is found at load. Never pickle: a checkpoint
cannot run code.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from tmrl_ros.documents import from_json, shown
from tmrl_ros.errors import DataError

TENSORS, META = "tensors.safetensors", "meta.json"
AGAIN = {  # where the content of a damaged checkpoint is still to be had, by its kind
    "tmrl_actor": "go back to one from the bag: tmrl actor BAG OUT --version N",
    "tmrl_learner": "remove the folder and resume, which learns the session's log again, or start anew",
}


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], meta: dict) -> None:
    """Replace `folder` by one holding `tensors` and `meta` (JSON), durable before it becomes visible."""
    folder = Path(folder)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    data = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
    _write(fresh / TENSORS, data)
    meta = {**meta, "sha256": hashlib.sha256(data).hexdigest()}
    _write(fresh / META, json.dumps({**meta, "meta_sha256": signature(meta)}, indent=1).encode())
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def signature(meta: dict[str, Any]) -> str:
    """SHA-256 of all that meta.json says but this."""
    said = json.loads(json.dumps({name: value for name, value in meta.items() if name != "meta_sha256"}))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_checkpoint(folder: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors and meta of `folder`; raises DataError if missing, damaged, or not of format `kind`."""
    folder = Path(folder)
    try:
        return _read(folder, kind)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: no checkpoint here ({Path(error.filename).name} is missing); give a folder that "
            "`tmrl pretrain` or a session wrote"
        ) from None
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror} ({Path(error.filename or '').name}); restore a copy") from None


def remedy(kind: str) -> str:
    """What a person can do about a damaged checkpoint of format `kind`."""
    return AGAIN.get(kind.partition("/")[0], "restore a copy, or train it again")


def _read(folder: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    meta, data = _read_meta(folder / META, kind), (folder / TENSORS).read_bytes()
    if meta.get("format") != kind:
        raise DataError(f"{folder}: holds {shown(meta.get('format'))}, expected {kind!r}; check which folder was given")
    if hashlib.sha256(data).hexdigest() != meta.get("sha256"):
        raise DataError(f"{folder / TENSORS}: checksum differs, the file is damaged or cut short; {remedy(kind)}")
    try:
        return safetensors.torch.load(data), meta
    except Exception as error:  # the library raises its own type, and others for what it cannot hold
        raise DataError(f"{folder / TENSORS}: no safetensors ({error}); {remedy(kind)}") from None


def _read_meta(file: Path, kind: str) -> dict[str, Any]:
    try:
        meta = from_json(file.read_bytes())
    except ValueError:
        raise DataError(f"{file}: not JSON, the file is damaged; {remedy(kind)}") from None
    if not isinstance(meta, dict):
        raise DataError(f"{file}: describes no checkpoint, the file is damaged; {remedy(kind)}")
    if meta.get("meta_sha256", known := signature(meta)) != known:  # the first ones had none
        raise DataError(f"{file}: checksum differs, the file is damaged; {remedy(kind)}")
    return meta


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
