"""The durable store: a finished measurement is never lost, and never made twice.

A record's key is the content of the question (:func:`~mbrl_split.oracles.base.measurement_key`), so many processes,
runs and machines may share a store without speaking to each other. Two kinds: one sqlite file for local disks, a folder
of files for network disks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles.base import Measurement
from mbrl_split.oracles.record import Damaged, decode, encode


class Store(ABC):
    """Measurements of single rows by key. The first record of a key wins; a damaged record counts as absent."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """The record's bytes as they lie there, or None."""

    @abstractmethod
    def write(self, key: str, payload: bytes) -> None:
        """Keep the record durably, unless there is one already."""

    @abstractmethod
    def discard(self, key: str, payload: bytes) -> None:
        """Remove the record if it still has these (damaged) bytes."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """The keys, in order."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of records."""

    def get(self, key: str) -> Measurement | None:
        """The measurement of a key, or None where there is none that can be trusted."""
        payload = self.read(key)
        if payload is None:
            return None
        try:
            return decode(payload)
        except Damaged as why:
            warnings.warn(f"{self}: the record {key[:12]}… is damaged ({why}) and will be measured again", stacklevel=2)
            self.discard(key, payload)
            return None

    def put(self, key: str, measurement: Measurement, about: dict[str, Any] | None = None) -> Measurement:
        """Keep a measurement of one row; it is on disk when this returns.

        Args:
            key: From :meth:`~mbrl_split.oracles.Oracle.key`.
            measurement: Of a single row.
            about: The question, for human readers of the record.

        Returns:
            What the store now holds: the given measurement, or that of another process that came first.

        Raises:
            InvalidInputError: The store cannot be written.
        """
        self.write(key, encode(measurement, about))
        return self.get(key) or measurement

    def export(self, path: str | os.PathLike[str]) -> int:
        """Copy every record to the store at ``path`` (made if absent); returns the number of records there."""
        with contextlib.closing(open_store(path)) as other:
            for key in self:
                payload = self.read(key)
                if payload is not None:
                    other.write(key, payload)
            return len(other)

    def close(self) -> None:  # noqa: B027  (a store of files has nothing to close)
        """Release what the store holds open; nothing is lost without it."""


class SqliteStore(Store):
    """One sqlite file in WAL mode, for a local disk; any number of processes read and write it at once.

    ``synchronous=FULL``: each commit is flushed to the disk, so that a finished measurement outlives not only a killed
    process (for which NORMAL would do) but a power cut. A flush takes milliseconds, an evaluation tens of them or more.

    Args:
        path: The file, made if absent; ``":memory:"`` keeps everything in this process.

    Raises:
        InvalidInputError: The file cannot be opened or written, or is not a store.

    Example:
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.oracles import FunctionOracle, Ledger, SqliteStore
        >>> oracle = FunctionOracle(lambda X: X[:, 0] ** 2, [Column("x", "1", 0, 9)], identity="square")
        >>> ledger = Ledger(oracle, SqliteStore(":memory:"))
        >>> ledger.measure([[3.0], [3.0]], seeds=[0, 0]).mean, ledger.spent  # one is looked up, both are charged
        (array([9., 9.]), 2.0)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        self._pid = -1
        self._link: sqlite3.Connection | None = None
        if self.path != ":memory:":
            self.path = str(Path(self.path).absolute())
            _make_folder(Path(self.path).parent)
        self._run("SELECT 1")

    def __str__(self) -> str:
        return f"store {self.path}"

    def __reduce__(self) -> tuple[type[SqliteStore], tuple[str]]:
        # To another process goes the path, never the connection.
        return SqliteStore, (self.path,)

    def read(self, key: str) -> bytes | None:
        rows = self._run("SELECT payload FROM measurement WHERE key = ?", (key,))
        return bytes(rows[0][0]) if rows else None

    def write(self, key: str, payload: bytes) -> None:
        self._run("INSERT OR IGNORE INTO measurement VALUES (?, ?)", (key, payload))

    def discard(self, key: str, payload: bytes) -> None:
        self._run("DELETE FROM measurement WHERE key = ? AND payload = ?", (key, payload))

    def __iter__(self) -> Iterator[str]:
        return iter([row[0] for row in self._run("SELECT key FROM measurement ORDER BY key")])

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM measurement")[0][0])

    def close(self) -> None:
        if self._link is not None and self._pid == os.getpid():
            self._link.close()
        self._link = None

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._connection().execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise InvalidInputError(f"cannot use {self}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        # A connection must not cross a fork, so each process opens its own.
        if self._link is None or self._pid != os.getpid():
            # A cluster's worker unpickles a store in one thread and uses it in another; sqlite itself serialises calls.
            link = sqlite3.connect(self.path, timeout=60.0, isolation_level=None, check_same_thread=False)
            # The switch to WAL is the one statement that the busy timeout does not cover when two processes race.
            for attempt in range(200):
                try:
                    link.execute("PRAGMA journal_mode = WAL")
                    break
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or attempt == 199:
                        raise
                    time.sleep(0.01)
            link.execute("PRAGMA synchronous = FULL")
            link.execute(
                "CREATE TABLE IF NOT EXISTS measurement (key TEXT PRIMARY KEY, payload BLOB NOT NULL) WITHOUT ROWID"
            )
            self._link, self._pid = link, os.getpid()
        return self._link


class FileStore(Store):
    """A folder with one file per measurement, for network disks, where sqlite's locks cannot be relied upon.

    A file is written aside, flushed, and renamed into place, so that no reader ever sees half of it.

    Args:
        path: The folder, made if absent.

    Raises:
        InvalidInputError: The folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.oracles import FileStore, FunctionOracle, Ledger
        >>> oracle = FunctionOracle(lambda X: X[:, 0] ** 2, [Column("x", "1", 0, 9)], identity="square")
        >>> store = FileStore(tempfile.mkdtemp())
        >>> found = Ledger(oracle, store).measure([[3.0], [2.0]], seeds=[0, 0])
        >>> len(store)
        2
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        _make_folder(self.path)

    def __str__(self) -> str:
        return f"store {self.path}"

    def _file(self, key: str) -> Path:
        return self.path / key[:2] / f"{key}.bin"

    def read(self, key: str) -> bytes | None:
        try:
            return self._file(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInputError(f"cannot read {self}: {error.strerror}") from error

    def write(self, key: str, payload: bytes) -> None:
        target = self._file(key)
        if target.exists():
            return
        try:
            if not target.parent.exists():
                target.parent.mkdir(exist_ok=True)
                _flush_folder(self.path)
            handle, aside = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, target)
            _flush_folder(target.parent)
        except OSError as error:
            raise InvalidInputError(f"cannot write {self}: {error.strerror}") from error

    def discard(self, key: str, payload: bytes) -> None:
        if self.read(key) == payload:
            self._file(key).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(file.stem for file in self.path.glob("[0-9a-f][0-9a-f]/*.bin")))

    def __len__(self) -> int:
        return sum(1 for _ in self.path.glob("[0-9a-f][0-9a-f]/*.bin"))


def open_store(path: str | os.PathLike[str] | Store) -> Store:
    """The store at a path: a folder is a :class:`FileStore`, a file a :class:`SqliteStore`.

    What does not exist yet is made: with a suffix (``runs/truth.sqlite``) a sqlite file, without one a folder.

    Raises:
        InvalidInputError: The path cannot be opened or written.
    """
    if isinstance(path, Store):
        return path
    place = Path(path)
    if place.is_dir() or (not place.exists() and not place.suffix and str(path) != ":memory:"):
        return FileStore(place)
    return SqliteStore(path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInputError(f"the folder {folder} cannot be written")


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder durable; some network disks cannot flush a folder, and need not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
