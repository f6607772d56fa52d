"""What a training run writes while it runs: ``metrics.jsonl``, and TensorBoard in ``tb/``."""

from __future__ import annotations

import json
import os
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from mbrl_split.errors import InvalidInputError


class Logger(Protocol):
    """Where a training run tells what happens.

    A record has a ``kind`` (``train``, ``truth``, ``refresh``, ``audit``, ``end``, …) and the environment step. The
    reward that an agent learnt from and the truth are separate streams: ``train`` records name the source in their
    keys (``surrogate/…`` or ``true/…``), and every row of truth that was paid for gets a ``truth`` record with what the
    surrogate had predicted there.
    """

    def log(self, kind: str, step: int, **fields: Any) -> None:
        """Write one record; fields are plain data."""

    def position(self) -> int:
        """A mark that :meth:`rewind` understands; everything before it is on disk."""

    def rewind(self, position: int, step: int) -> None:
        """Forget what was logged after the mark: the run goes on from a checkpoint at ``step``."""

    def close(self) -> None:
        """Finish writing."""


class NullLogger:
    """Writes nothing."""

    def log(self, kind: str, step: int, **fields: Any) -> None:
        return None

    def position(self) -> int:
        return 0

    def rewind(self, position: int, step: int) -> None:
        return None

    def close(self) -> None:
        return None


class RunLogger:
    """Writes ``metrics.jsonl`` (one record a line) and, where TensorBoard is installed, ``tb/``.

    Args:
        folder: Made if it is not there. Of a log that is there, a trainer that resumes keeps what precedes its
            checkpoint, one that begins keeps nothing; without a trainer, records are added at the end.
        tensorboard: False writes JSON lines only.

    Raises:
        InvalidInputError: The folder cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> from mbrl_split.training import RunLogger
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> logger = RunLogger(folder, tensorboard=False)
        >>> logger.log("train", 128, loss=0.5)
        >>> logger.close()
        >>> print((folder / "metrics.jsonl").read_text().strip())
        {"kind": "train", "step": 128, "loss": 0.5}
    """

    def __init__(self, folder: str | PathLike[str], *, tensorboard: bool = True) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / "metrics.jsonl").open("ab")
        except OSError as error:
            raise InvalidInputError(f"cannot write the log to {self.folder}: {error.strerror}") from None
        self._tensorboard = tensorboard
        self._writer: Any = None

    def log(self, kind: str, step: int, **fields: Any) -> None:
        self._file.write((json.dumps({"kind": kind, "step": step, **fields}) + "\n").encode())
        self._file.flush()
        writer = self._board()
        if writer is not None:
            for name, value in fields.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    # The agent's own names say where they belong (train/policy_loss); others get the record's kind.
                    writer.add_scalar(name if "/" in name else f"{kind}/{name}", value, step)

    def position(self) -> int:
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def rewind(self, position: int, step: int) -> None:
        self._file.truncate(min(position, self._file.seek(0, os.SEEK_END)))  # a run may resume into a new folder
        self._file.seek(0, os.SEEK_END)
        self._close_board()
        self._writer = self._board(purge_step=step + 1)

    def close(self) -> None:
        self._file.close()
        self._close_board()

    def _board(self, purge_step: int | None = None) -> Any:
        if self._writer is None and self._tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._tensorboard = False
                return None
            self._writer = SummaryWriter(str(self.folder / "tb"), purge_step=purge_step)
        return self._writer

    def _close_board(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
