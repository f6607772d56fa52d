"""A surrogate on disk: a manifest of plain data, a file of numbers, and the surrogates it holds in folders beside.

Nothing in them is executed. Each file and folder is named by its digest and the manifest is replaced last, so that an
interrupted save leaves the earlier one whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as dump_tensors

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.surrogates.base import Surrogate

MANIFEST = "surrogate.json"
FORMAT = 2

T = TypeVar("T")


@dataclass(eq=False)
class StoredSurrogate(Surrogate):
    """Base of the library's surrogates: dataclasses whose fields are their settings, plain data or other surrogates.

    Subclasses tell what they have learned by ``_state``, and take it back by ``_restore``.
    """

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What was learned: arrays, and dataclasses of arrays and numbers, by name; refuses before ``fit``."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`_state` (see :func:`take`); settings and columns are already in place."""

    def _learned(self, what: T | None) -> T:
        if what is None:
            raise InvalidInputError(f"this {type(self).__name__} has learned nothing yet: call fit first")
        return what

    def _held(self) -> dict[str, Surrogate]:
        """The fields that are surrogates."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Surrogate)}

    def _settings(self) -> dict[str, Any]:
        """The other fields: plain data, or it is said which is not."""
        held = self._held()
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in held}
        for name, value in settings.items():
            try:
                json.dumps(value)
            except TypeError:
                raise InvalidInputError(f"{name} = {value!r} is not plain data and cannot be saved") from None
        return settings

    def clone(self, *, seed: int | None = None) -> Self:
        changes: dict[str, Any] = {name: inner.clone(seed=seed) for name, inner in self._held().items()}
        if seed is not None and any(f.name == "seed" for f in fields(self)):
            changes["seed"] = seed
        return replace(self, **changes)

    def config(self) -> dict[str, Any]:
        return self._settings() | {name: inner.config() for name, inner in self._held().items()}

    def save(self, path: str | PathLike[str]) -> None:
        content: bytes = dump_tensors(_flat(self._state()))
        body: dict[str, Any] = {"format": FORMAT, "kind": type(self).__name__, "config": self._settings()}
        body["columns"] = None if self.columns is None else [dict(vars(c)) for c in self.columns]
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        body["holds"] = {name: _save_inside(folder, name, inner) for name, inner in self._held().items()}
        body["state"] = {"name": f"state-{_sha256(content)[:12]}.safetensors", "sha256": _sha256(content)}
        _replace(folder / body["state"]["name"], content)
        text = json.dumps({**body, "sha256": _sha256_of(body)}, indent=1, sort_keys=True)
        _replace(folder / MANIFEST, text.encode())
        current = {"state": body["state"], **body["holds"]}
        for old in folder.iterdir():
            stem = old.name.rpartition("-")[0]
            if stem in current and old.name != current[stem]["name"]:
                shutil.rmtree(old) if old.is_dir() else old.unlink()

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        body, folder = _read_manifest(path), Path(path)
        if body["kind"] != cls.__name__:
            raise UnsupportedError(f"{folder} holds a {body['kind']}, not a {cls.__name__}")
        content = _read_whole(folder / Path(body["state"]["name"]).name, body["state"]["sha256"])
        settings = body["config"] | ({"device": device} if "device" in body["config"] else {})
        for name, entry in body["holds"].items():
            inner = folder / Path(entry["name"]).name
            _read_whole(inner / MANIFEST, entry["sha256"])
            settings[name] = load_surrogate(inner, device=device)
        self = cls(**settings)
        self.columns = None if body["columns"] is None else tuple(Column(**c) for c in body["columns"])
        # Copied: an array that starts anywhere in a buffer can take another path through a matrix product.
        self._restore({n: a.copy() if a.ndim else a.item() for n, a in parse_tensors(content).items()})
        return self


def load_surrogate(path: str | PathLike[str], *, device: str = "cpu") -> Surrogate:
    """Read a saved surrogate of any class that the library ships or the program has defined.

    The file only names a class; it is looked up among the subclasses that exist, never imported by that name.

    Raises:
        UnsupportedError: The folder is not a saved surrogate, was changed, or names a class that does not exist here.
    """
    kind = _read_manifest(path)["kind"]
    import_module("mbrl_split.surrogates")
    for cls in _subclasses(Surrogate):  # type: ignore[type-abstract]
        if cls.__name__ == kind:
            return cls.load(path, device=device)
    raise UnsupportedError(f"{path} holds a {kind}, and no surrogate of that name is defined here")


def _subclasses(cls: type[Surrogate]) -> list[type[Surrogate]]:
    return [s for child in cls.__subclasses__() for s in (child, *_subclasses(child))]


def take(state: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """The dataclass of that name and kind from what :meth:`StoredSurrogate._restore` is given."""
    return kind(**{f.name: state[f"{name}.{f.name}"] for f in fields(kind)})  # type: ignore[arg-type]


def _flat(state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Arrays by name; those of a dataclass under its own, then theirs."""
    flat: dict[str, Any] = {}
    for name, value in state.items():
        flat |= {f"{name}.{n}": v for n, v in vars(value).items()} if is_dataclass(value) else {name: value}
    return {name: np.asarray(value, order="C") for name, value in flat.items()}


def _save_inside(folder: Path, name: str, inner: Surrogate) -> dict[str, str]:
    """Save a surrogate in a folder of its own, named by the digest of its manifest."""
    partial = folder / f".{name}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    inner.save(partial)
    digest = _sha256((partial / MANIFEST).read_bytes())
    final = folder / f"{name}-{digest[:12]}"
    shutil.rmtree(partial) if final.exists() else os.replace(partial, final)
    return {"name": final.name, "sha256": digest}


def _read_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    file = Path(path) / MANIFEST
    try:
        body: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        intact = body.pop("sha256") == _sha256_of(body)
    except FileNotFoundError:
        raise UnsupportedError(f"no saved surrogate in {path} ({MANIFEST} is missing)") from None
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise UnsupportedError(f"{file} is not a surrogate's manifest: {error}") from None
    if not intact:
        raise UnsupportedError(f"{file} was changed after it was written")
    if body["format"] != FORMAT:
        raise UnsupportedError(f"{path} was written in format {body['format']}; this version reads format {FORMAT}")
    return body


def _read_whole(file: Path, digest: str) -> bytes:
    content = file.read_bytes() if file.is_file() else b""
    if _sha256(content) != digest:
        raise UnsupportedError(f"{file} is missing, cut short or changed")
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of(body: Mapping[str, Any]) -> str:
    return _sha256(json.dumps(body, sort_keys=True).encode())


def _replace(file: Path, content: bytes) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(content)
    os.replace(partial, file)
