"""A surrogate on disk: a manifest of plain data and files of numbers. Nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as dump_tensors

from mbrl_split.columns import Column
from mbrl_split.errors import UnsupportedError

MANIFEST = "surrogate.json"
FORMAT = 1


def write(path: str | PathLike[str], kind: str, state: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a saved surrogate.

    Args:
        path: The folder; made if missing, its earlier save replaced.
        kind: Name of the class.
        state: Plain data (JSON).
        files: Contents by name; each is stored under its own digest, so an interrupted save leaves the old one whole.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        stem, _, suffix = name.partition(".")
        names[name] = {"file": f"{stem}-{digest[:12]}.{suffix}", "sha256": digest}
        _replace(folder / names[name]["file"], content)
    body = {"format": FORMAT, "kind": kind, "state": dict(state), "files": names}
    text = json.dumps({**body, "sha256": _digest(body)}, indent=1, sort_keys=True)
    _replace(folder / MANIFEST, text.encode())
    kept = {entry["file"] for entry in names.values()}
    stems = {name.partition(".")[0] for name in names}
    for file in folder.iterdir():
        if file.is_file() and file.name not in kept and file.name.rpartition("-")[0] in stems:
            file.unlink(missing_ok=True)


def read(path: str | PathLike[str], kind: str | None = None) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """Read (kind, state, files) of a saved surrogate.

    Raises:
        UnsupportedError: Nothing there, another kind than asked for, or contents that are not what was written.
    """
    folder = Path(path)
    try:
        body = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digest = body.pop("sha256")
        intact = digest == _digest(body)
    except FileNotFoundError:
        raise UnsupportedError(f"no saved surrogate in {folder} ({MANIFEST} is missing)") from None
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise UnsupportedError(f"{folder / MANIFEST} is not a surrogate's manifest: {error}") from None
    if not intact:
        raise UnsupportedError(f"{folder / MANIFEST} was changed after it was written")
    if body["format"] != FORMAT:
        raise UnsupportedError(f"{folder} was written in format {body['format']}; this version reads format {FORMAT}")
    if kind is not None and body["kind"] != kind:
        raise UnsupportedError(f"{folder} holds a {body['kind']}, not a {kind}")
    files = {}
    for name, entry in body["files"].items():
        file = folder / Path(entry["file"]).name
        content = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise UnsupportedError(f"{file} is missing, cut short or changed")
        files[name] = content
    return body["kind"], body["state"], files


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays by name as safetensors."""
    content: bytes = dump_tensors({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    return content


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """The inverse of :func:`pack`."""
    # Copied: an array that starts anywhere in a buffer can take another path through a matrix product.
    return {name: a.copy() for name, a in parse_tensors(content).items()}


def columns_to_data(columns: tuple[Column, ...] | None) -> list[dict[str, Any]] | None:
    """Columns as plain data."""
    return None if columns is None else [dict(vars(c)) for c in columns]


def columns_from_data(data: list[dict[str, Any]] | None) -> tuple[Column, ...] | None:
    """The inverse of :func:`columns_to_data`."""
    return None if data is None else tuple(Column(**c) for c in data)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _replace(file: Path, content: bytes) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(content)
    os.replace(partial, file)
