"""Where a study lives: a journal of lines on disk, one owner at a time, mended after a kill."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from mbrl_split.errors import InvalidInputError

JOURNAL = "study.journal"


def open_journal(folder: Path) -> JournalStorage:
    """The journal in a folder; several processes may write to it at once."""
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a study's folder; its workers write under this ownership.

    What a killed owner left is put right first: a last line that was not finished is cut off, a lock that nobody holds
    is removed. The operating system takes the ownership back when the process ends, however it ends.

    Raises:
        InvalidInputError: The folder cannot be written, or another process tunes in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / "owner").open("a")
    except OSError as error:
        raise InvalidInputError(f"cannot write to the folder {folder}: {error.strerror}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInputError(f"another process tunes in {folder}; wait for it, or give another --out") from None
        _mend(folder / JOURNAL)
        yield


def _mend(journal: Path) -> None:
    lock = Path(f"{journal}.lock")
    if lock.is_symlink() or lock.exists():
        lock.unlink()
    if not journal.exists():
        return
    with journal.open("rb+") as file:
        text = file.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())


def stored_study(folder: Path) -> optuna.Study | None:
    """The study in a folder, to look at; None where there is none."""
    if not (folder / JOURNAL).exists():
        return None
    storage = open_journal(folder)
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=names[0], storage=storage) if names else None
