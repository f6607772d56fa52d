"""The truth from a measured table, without a ledger."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.layer_split.tables.table import TableOracle


class TableSource:
    """The truth from a measured table, without a ledger: counted but never capped, and fast.

    A ledger keeps a record of every window it paid for. Training on a table without a budget needs the numbers alone;
    they are those of ``OracleSource(Ledger(table))``, bit for bit. As there, a deep copy is the same source.

    Attributes:
        evaluations: True evaluations answered so far (clean references not included).

    Example:
        >>> from mbrl_split.layer_split import TableSource
        >>> from mbrl_split.layer_split import TableOracle
        >>> source = TableSource(TableOracle.load("tiny-llama", "equalised"))
        >>> early, late = source.answer([[2, 0.5, 1.0], [10, 0.5, 1.0]], seeds=[0, 0])  # split, noise, m
        >>> bool(early > late), source.evaluations
        (True, 2)
    """

    version = 0

    def __init__(self, table: TableOracle) -> None:
        self.table = table
        self.columns = table.columns
        self.evaluations = 0

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> NDArray[np.float64]:
        found = self.table.sample_damage(X, seeds)
        self.evaluations += len(found)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
