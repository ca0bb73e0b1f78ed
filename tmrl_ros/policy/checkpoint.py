"""Checkpoints: a folder with tensors.safetensors and meta.json, written beside and renamed: a kill leaves old or new.

meta.json carries the SHA-256 of the tensors, so damage is found at load. Never pickle: a checkpoint cannot run code.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import safetensors.torch
from torch import Tensor

from tmrl_ros.errors import DataError

TENSORS, META = "tensors.safetensors", "meta.json"


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], meta: dict) -> None:
    """Replace `folder` by one holding `tensors` and `meta` (JSON), durable before it becomes visible."""
    folder = Path(folder)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    data = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
    _write(fresh / TENSORS, data)
    _write(fresh / META, json.dumps({**meta, "sha256": hashlib.sha256(data).hexdigest()}, indent=1).encode())
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def read_checkpoint(folder: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors and meta of `folder`; raises DataError if missing, damaged, or not of format `kind`."""
    folder = Path(folder)
    try:
        meta = json.loads((folder / META).read_bytes())
        data = (folder / TENSORS).read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: no checkpoint here ({Path(error.filename).name} is missing); give a folder that "
            "`tmrl pretrain` or a session wrote"
        ) from None
    except ValueError:
        raise DataError(f"{folder / META}: not JSON, the file is damaged; use an earlier checkpoint") from None
    if meta.get("format") != kind:
        raise DataError(f"{folder}: holds {meta.get('format')!r}, expected {kind!r}; check which folder was given")
    if hashlib.sha256(data).hexdigest() != meta.get("sha256"):
        raise DataError(
            f"{folder / TENSORS}: checksum differs, the file is damaged or cut short; use an earlier checkpoint"
        )
    return safetensors.torch.load(data), meta


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
