"""Checkpoints that survive SIGKILL: each is a folder, complete before its name appears in ``LATEST``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from mbrl_split.errors import InvalidInputError

FORMAT = 1


class Checkpoints:
    """The newest checkpoint of a run, in ``folder``; None keeps none.

    Args:
        folder: Made if it is not there.

    Raises:
        InvalidInputError: The folder cannot be written.
    """

    def __init__(self, folder: str | PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InvalidInputError(f"cannot write checkpoints to {self.folder}: {error.strerror}") from None

    def latest(self) -> Path | None:
        """The folder of the newest complete checkpoint."""
        if self.folder is None or not (self.folder / "LATEST").exists():
            return None
        return self.folder / (self.folder / "LATEST").read_text(encoding="utf-8").strip()

    def save(self, name: str, state: dict[str, Any], write_parts: Callable[[Path], None]) -> None:
        """Write a checkpoint, point to it, and drop the older ones.

        Args:
            name: Of the new checkpoint; another one is made up if the last has it.
            state: Plain data, for ``state.json``.
            write_parts: Given a folder, writes into it whatever saves itself (the agent, the surrogate).
        """
        if self.folder is None:
            return
        last = self.latest()
        if last is not None and last.name == name:  # which stays whole until LATEST points elsewhere
            name = f"{name}-again"
        partial, final = self.folder / f".partial-{name}", self.folder / name
        for leftover in (partial, final):  # of a run that was killed here
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        write_parts(partial)
        (partial / "state.json").write_text(json.dumps({"format": FORMAT, **state}), encoding="utf-8")
        for path in [*partial.rglob("*"), partial]:
            _sync(path)
        partial.rename(final)
        pointer = self.folder / ".LATEST"
        pointer.write_text(name, encoding="utf-8")
        _sync(pointer)
        os.replace(pointer, self.folder / "LATEST")
        _sync(self.folder)
        for other in self.folder.iterdir():
            if other.is_dir() and other != final:
                shutil.rmtree(other, ignore_errors=True)

    @staticmethod
    def read(folder: Path) -> dict[str, Any]:
        """The plain data of a checkpoint.

        Raises:
            InvalidInputError: It cannot be read, or is of another format.
        """
        try:
            state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{folder} holds no readable checkpoint ({error})") from None
        if state.get("format") != FORMAT:
            raise InvalidInputError(f"{folder} is a checkpoint of format {state.get('format')}, not {FORMAT}")
        return state


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
