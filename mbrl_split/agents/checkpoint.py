"""A tree of plain data and arrays in a folder: safetensors for the arrays, a JSON manifest for the rest.

The manifest names its array file and is replaced in one step, after the arrays have reached the disk: whatever kills
the writer, the folder holds either the previous checkpoint or the new one, whole.
"""

from __future__ import annotations

import json
import os
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from mbrl_split.errors import InvalidInputError

MANIFEST = "agent.json"
_ARRAY = "__array__"
_TUPLE = "__tuple__"


class Stateful:
    """Something whose state is some of its attributes.

    Attributes:
        kept: Their names.
    """

    kept: ClassVar[tuple[str, ...]]

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` puts back."""
        return {name: getattr(self, name) for name in self.kept}

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update({name: state[name] for name in self.kept})


def save_tree(path: str | PathLike[str], tree: dict[str, Any]) -> None:
    """Write a tree of dictionaries, lists, tuples, numbers, strings, None and arrays to a folder, all or nothing.

    Raises:
        InvalidInputError: The path cannot be written, or the tree holds something that is not data.
    """
    folder = Path(path)
    arrays: dict[str, NDArray[Any]] = {}
    plain = _flatten(tree, "", arrays)
    data = f"arrays-{uuid4().hex}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / data, save(arrays))
        manifest = json.dumps({"arrays": data, "tree": plain}, indent=1).encode()
        partial = folder / f"{MANIFEST}.{uuid4().hex}"
        _write(partial, manifest)
        os.replace(partial, folder / MANIFEST)
        _sync_folder(folder)
    except OSError as error:
        raise InvalidInputError(f"cannot write the agent to {folder}: {error}") from error
    for old in [*folder.glob("arrays-*.safetensors"), *folder.glob(f"{MANIFEST}.*")]:
        if old.name != data:
            old.unlink(missing_ok=True)


def load_tree(path: str | PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save_tree` wrote.

    Raises:
        InvalidInputError: There is no readable checkpoint.
    """
    folder = Path(path)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        arrays = load_file(folder / manifest["arrays"])
        tree = _restore(manifest["tree"], arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{folder} holds no readable agent ({type(error).__name__}: {error})") from error
    if not isinstance(tree, dict):
        raise InvalidInputError(f"{folder} holds no readable agent")
    return tree


def _flatten(node: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(node, np.ndarray):
        name = path or "array"
        arrays[name] = np.ascontiguousarray(node).reshape(node.shape)
        return {_ARRAY: name}
    if isinstance(node, np.generic):
        return node.item()
    if isinstance(node, dict):
        if not all(isinstance(key, str) for key in node):
            raise InvalidInputError(f"the keys of {path or 'the tree'} must be strings to be saved")
        return {key: _flatten(value, f"{path}.{key}" if path else key, arrays) for key, value in node.items()}
    if isinstance(node, list | tuple):
        items = [_flatten(value, f"{path}.{i}", arrays) for i, value in enumerate(node)]
        return {_TUPLE: items} if isinstance(node, tuple) else items
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise InvalidInputError(f"{path} is a {type(node).__name__}, which cannot be saved as data")


def _restore(node: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(node, dict):
        if set(node) == {_ARRAY}:
            return np.array(arrays[node[_ARRAY]])  # writable
        if set(node) == {_TUPLE}:
            return tuple(_restore(value, arrays) for value in node[_TUPLE])
        return {key: _restore(value, arrays) for key, value in node.items()}
    if isinstance(node, list):
        return [_restore(value, arrays) for value in node]
    return node


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
