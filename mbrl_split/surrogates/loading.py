"""Reading a saved surrogate whose class is not known beforehand, and saving one that holds another."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mbrl_split.errors import UnsupportedError
from mbrl_split.surrogates import storage
from mbrl_split.surrogates.base import Surrogate


def load_surrogate(path: str | PathLike[str], *, device: str = "cpu") -> Surrogate:
    """Read a saved surrogate of any class that the library ships or the program has defined.

    The file only names a class; it is looked up among the subclasses that exist, never imported by that name.

    Raises:
        UnsupportedError: The folder is not a saved surrogate, was changed, or names a class that does not exist here.
    """
    kind = storage.read(path)[0]
    import_module("mbrl_split.surrogates")
    for cls in _subclasses(Surrogate):  # type: ignore[type-abstract]
        if cls.__name__ == kind:
            return cls.load(path, device=device)
    raise UnsupportedError(f"{path} holds a {kind}, and no surrogate of that name is defined here")


def _subclasses(cls: type[Surrogate]) -> list[type[Surrogate]]:
    return [s for child in cls.__subclasses__() for s in (child, *_subclasses(child))]


def save_wrapper(
    path: str | PathLike[str],
    wrapper: Surrogate,
    inner: Surrogate,
    state: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Save a surrogate that holds another: the inner one in a folder of its own, named by its digest."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".inner.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    inner.save(partial)
    digest = hashlib.sha256((partial / storage.MANIFEST).read_bytes()).hexdigest()
    final = folder / f"inner-{digest[:12]}"
    if final.exists():
        shutil.rmtree(partial)
    else:
        os.replace(partial, final)
    files = {"wrapper.safetensors": storage.pack(arrays)} if arrays else {}
    storage.write(folder, type(wrapper).__name__, {**state, "inner": final.name, "inner_sha256": digest}, files)
    for old in folder.glob("inner-*"):
        if old != final:
            shutil.rmtree(old)


def load_wrapper(
    path: str | PathLike[str], kind: str, device: str
) -> tuple[dict[str, Any], Surrogate, dict[str, NDArray[Any]]]:
    """Read (state, inner surrogate, arrays) of what :func:`save_wrapper` wrote.

    Raises:
        UnsupportedError: As :func:`load_surrogate`.
    """
    _, state, files = storage.read(path, kind)
    folder = Path(path) / Path(state["inner"]).name
    manifest = folder / storage.MANIFEST
    if not manifest.is_file() or hashlib.sha256(manifest.read_bytes()).hexdigest() != state["inner_sha256"]:
        raise UnsupportedError(f"{folder} is missing or not what was saved beside {path}")
    arrays = storage.unpack(files["wrapper.safetensors"]) if "wrapper.safetensors" in files else {}
    return state, load_surrogate(folder, device=device), arrays
