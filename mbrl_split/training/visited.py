"""What the agent asked lately, noted on the way to the source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.interaction import Source


class Visited:
    """A source that passes every question on and remembers the last ``size`` of them.

    Args:
        source: Who answers.
        size: Queries remembered.
    """

    def __init__(self, source: Source, size: int) -> None:
        self.source, self.size = source, size
        self.columns = source.columns
        self._rows: list[NDArray[np.float64]] = []
        self._count = 0

    @property
    def version(self) -> int:
        """Of the source."""
        return self.source.version

    @version.setter
    def version(self, value: int) -> None:
        self.source.version = value

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> NDArray[np.float64]:
        x = np.asarray(X, dtype=np.float64)
        self._rows.append(x.copy())
        self._count += len(x)
        if self._count > 2 * self.size:
            self._rows = [self.queries]
            self._count = len(self._rows[0])
        return self.source.answer(x, seeds=seeds)

    @property
    def queries(self) -> NDArray[np.float64]:
        """The remembered queries, oldest first, shape (at most size, d)."""
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, len(self.columns)))
        return rows[-self.size :]

    def state_dict(self) -> dict[str, Any]:
        """The remembered queries as plain data."""
        return {"queries": self.queries.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state_dict` gave."""
        rows = np.array(state["queries"], dtype=np.float64).reshape(-1, len(self.columns))
        self._rows, self._count = [rows], len(rows)
