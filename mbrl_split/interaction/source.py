"""Who answers the costly number: the one thing that differs between RL and MBRL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError

Array = NDArray[np.float64]


class Source(Protocol):
    """Anything that answers a measurement.

    Attributes:
        columns: What the columns of a query mean.
        version: Raised whenever the same query may be answered differently (a surrogate was refitted); 0 is the truth.
    """

    columns: tuple[Column, ...]
    version: int

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> NDArray[np.float64]:
        """The measured or predicted number for each row of ``X``, shape (n,)."""
        ...


class ZeroSource:
    """Answers 0: for a look at an environment whose rewards nobody reads.

    Example:
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.interaction import ZeroSource
        >>> ZeroSource([Column("x", "1", 0, 9)]).answer([[1.0], [2.0]], seeds=[0, 1])
        array([0., 0.])
    """

    version = 0

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> Array:
        return np.zeros(len(np.asarray(X)))


def check_source(source: Source, columns: Sequence[Column]) -> None:
    """Refuse a source that does not answer these columns.

    Names, units and scales must agree in order, an ordinal range exactly; a continuous range may be wider.

    Raises:
        InvalidInputError: One line that names the first column that differs.
    """
    theirs = getattr(source, "columns", None)
    if theirs is None or not callable(getattr(source, "answer", None)):
        raise InvalidInputError(f"a source has columns and answer(X, *, seeds), which {type(source).__name__} lacks")
    name = type(source).__name__
    if len(theirs) != len(columns):
        asked, answers = ", ".join(c.name for c in columns), ", ".join(c.name for c in theirs)
        raise InvalidInputError(f"{name} answers the columns ({answers}), but the environment asks ({asked})")
    for ours, other in zip(columns, theirs, strict=True):
        same = (ours.name, ours.unit, ours.scale) == (other.name, other.unit, other.scale)
        if ours.scale == "ordinal":
            fits = (ours.low, ours.high) == (other.low, other.high)
        else:
            fits = other.low <= ours.low and ours.high <= other.high
        if not (same and fits):
            raise InvalidInputError(
                f"{name} answers the column {_words(other)}, but the environment asks {_words(ours)}"
            )


def ask(source: Source, X: Array, seeds: NDArray[np.int64]) -> Array:
    """The source's answers, shape (n,).

    Raises:
        InvalidInputError: They are not n finite numbers.
    """
    answer = np.asarray(source.answer(X, seeds=seeds), dtype=np.float64)
    name = type(source).__name__
    if answer.shape != (len(X),):
        raise InvalidInputError(f"{name} answered {len(X)} queries with shape {answer.shape}, not ({len(X)},)")
    if not np.isfinite(answer).all():
        row = int(np.flatnonzero(~np.isfinite(answer))[0])
        raise InvalidInputError(f"{name} answered {answer[row]} to the query {X[row].tolist()}")
    return answer


def _words(c: Column) -> str:
    return f"{c.name} [{c.unit}, {c.scale}, {c.low:g} … {c.high:g}]"
