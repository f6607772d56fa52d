"""The contract of an oracle: what truly measures the costly number."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column, check_rows
from mbrl_split.errors import InvalidInputError

KEY_VERSION = 1
_NO_RECORDS = np.dtype([("query", np.int64)])


@dataclass(frozen=True)
class Measurement:
    """What an oracle found for n queries; every array has shape (n,).

    Attributes:
        mean: The measured number.
        std_error: Standard error of ``mean``; nan where unknown.
        size: How much was measured, in the oracle's unit.
        n_capped: Parts of the measurement whose number was out of range or not finite, and capped.
        seconds: Seconds the measurement took when it was truly made.
        records: What the oracle keeps beside the mean: a structured array with int64 and float64 fields of the
            oracle's own, ordered by the field ``query``, which counts these rows; empty where it keeps nothing.
    """

    mean: NDArray[np.float64]
    std_error: NDArray[np.float64]
    size: NDArray[np.int64]
    n_capped: NDArray[np.int64]
    seconds: NDArray[np.float64]
    records: NDArray[np.void] = field(default_factory=lambda: np.empty(0, _NO_RECORDS))

    def __len__(self) -> int:
        return len(self.mean)

    @classmethod
    def concatenate(cls, parts: Sequence[Measurement]) -> Measurement:
        """Join measurements row after row; the field ``query`` of the records is renumbered."""
        offsets = np.cumsum([0, *(len(p) for p in parts)])
        records = [p.records.copy() for p in parts]
        for part, offset in zip(records, offsets, strict=False):
            part["query"] += offset
        kept = [part for part in records if len(part)] or records[:1]
        names = [f.name for f in fields(cls) if f.name != "records"]
        joined = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
        return cls(**joined, records=np.concatenate(kept))

    def take(self, keep: ArrayLike) -> Measurement:
        """The rows where ``keep``, shape (n,), is true; the field ``query`` of the records is renumbered."""
        kept = np.asarray(keep, dtype=np.bool_)
        records = self.records[kept[self.records["query"]]]
        records["query"] = (np.cumsum(kept) - 1)[records["query"]]
        names = [f.name for f in fields(self) if f.name != "records"]
        return Measurement(**{n: getattr(self, n)[kept] for n in names}, records=records)

    @classmethod
    def empty(cls) -> Measurement:
        """A measurement of no queries."""
        f, i = np.empty(0), np.empty(0, np.int64)
        return cls(f, f, i, i, f)


@dataclass(frozen=True)
class Price:
    """What a measurement will take, known before anything is measured.

    Attributes:
        size: Size of each row's measurement, in the oracle's unit.
        references: For each row the numbers of the references it shares with others, for instance the clean reading of
            a text; each of them is charged once per ledger.
        reference_size: Size of one reference.
    """

    size: int
    references: tuple[NDArray[np.int64], ...]
    reference_size: int = 0


def check_seeds(seeds: ArrayLike, n: int) -> NDArray[np.int64]:
    """The seeds as int64 of shape (n,).

    Raises:
        InvalidInputError: Not one non-negative integer per row.
    """
    s = np.asarray(seeds)
    if s.shape != (n,):
        raise InvalidInputError(f"seeds holds one integer per row, shape ({n},), not {s.shape}")
    if n and not np.issubdtype(s.dtype, np.integer):
        raise InvalidInputError(f"seeds are integers, not {s.dtype}")
    if n and (s.min() < 0 or s.max() > np.iinfo(np.int64).max):
        raise InvalidInputError(f"seeds are in [0, 2**63), not {s[(s < 0) | (s > np.iinfo(np.int64).max)][0]}")
    return s.astype(np.int64)


def check_record_fields(dtype: np.dtype[Any]) -> None:
    """Refuse records that a store could not give back bit for bit.

    Raises:
        InvalidInputError: There is no field ``query``, or a field is neither int64 nor float64.
    """
    names = dtype.names or ()
    if "query" not in names:
        raise InvalidInputError(
            f"records have a field query, the row they belong to, beside {', '.join(names) or 'none'}"
        )
    for name in names:
        if dtype[name] not in (np.int64, np.float64):
            raise InvalidInputError(f"fields of records are int64 or float64, and {name} is {dtype[name]}")


class Oracle(ABC):
    """Measures the costly number, in batches.

    Attributes:
        columns: What the columns of ``X`` mean.
        identity: A string that fixes everything a stored measurement depends on except (row, seed, size). Part of the
            store's key; empty where nothing can vouch for it, and then a ledger refuses to keep the oracle's
            measurements in a store that others may read.
        evaluation_size: Size of one *true evaluation*, the unit in which truth is counted.
        unit: What a size counts.
        reference_evaluations: True evaluations that all shared references together may cost a ledger.
        is_replay: Whether the answers are replayed from a file: then there is nothing to store again.
    """

    columns: tuple[Column, ...]
    identity: str
    evaluation_size: int
    unit: str = "evaluations"
    reference_evaluations: float = 0.0
    is_replay: bool = False

    def price(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Price:
        """What :meth:`measure` with the same arguments will take; measures nothing.

        Oracles whose rows share references override it to name those of each row.

        Raises:
            InvalidInputError: Whatever :meth:`measure` would refuse.
        """
        x = check_rows(X, self.columns)
        check_seeds(seeds, len(x))
        wanted = self.evaluation_size if size is None else size
        if not float(wanted).is_integer() or wanted < 1:
            raise InvalidInputError(f"size is an integer of at least 1, not {wanted}")
        none = np.empty(0, np.int64)
        return Price(int(wanted), (none,) * len(x))

    def key(self, row: ArrayLike, *, seed: int, size: int) -> str:
        """The store's key of one row's measurement, see :func:`~mbrl_split.oracles.base.measurement_key`."""
        # The 1 stands where keys of the first version held a second size: what was stored then is still found.
        return measurement_key(self.identity, row, seed=seed, sizes=(size, 1))

    @abstractmethod
    def measure(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Measurement:
        """Measure every row of ``X``.

        Args:
            X: Queries, shape (n, len(columns)).
            seeds: One non-negative integer per row: the randomness of the row follows from it alone, so rows with
                equal seeds share it (common random numbers).
            size: Of each row, in the oracle's unit; default the declared size.

        Returns:
            The measurement, row by row; a row's bits do not depend on the other rows.

        Raises:
            InvalidInputError: A row is outside the columns' ranges, or the size cannot be measured.
        """


def measurement_key(
    identity: str, row: ArrayLike, *, seed: int, sizes: tuple[int, ...], version: int = KEY_VERSION
) -> str:
    """The sha256 (64 hex digits) of everything that one row's measurement depends on.

    Args:
        identity: The oracle's identity.
        row: The query, shape (d,); its exact float64 bits count.
        seed: The row's seed.
        sizes: What is measured of it.
        version: Raised whenever the same question would measure something else.
    """
    bits = np.ascontiguousarray(row, dtype="<f8").tobytes().hex()
    question = [identity, version, bits, int(seed), *(int(size) for size in sizes)]
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()
