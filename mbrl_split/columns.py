"""What the columns of a query matrix mean: name, unit, range and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError

Scale = Literal["linear", "log", "ordinal"]


@dataclass(frozen=True)
class Column:
    """One coordinate of a query.

    Attributes:
        name: For instance ``"split"``, ``"noise"``, ``"m"``.
        unit: For instance ``"layers"``, ``"RMS"`` (median token RMS after layer 1), ``"1"``.
        low: Smallest legal value.
        high: Largest legal value.
        scale: ``"linear"``, ``"log"`` (positive, compared by ratios) or ``"ordinal"`` (integers with an order).
    """

    name: str
    unit: str
    low: float
    high: float
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= self.high):
            raise InvalidInputError(f"column {self.name!r} needs finite low <= high, not {self.low} and {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise InvalidInputError(f"column {self.name!r} has a log scale and needs low > 0, not {self.low}")

    def to_unit(self, values: ArrayLike) -> NDArray[np.float64]:
        """Map values to [0, 1] along the column's scale; a column of one value maps to 0."""
        x = np.asarray(values, dtype=np.float64)
        if self.low == self.high:
            return np.zeros_like(x)
        if self.scale == "log":
            return np.asarray(np.log(x / self.low) / np.log(self.high / self.low))
        return np.asarray((x - self.low) / (self.high - self.low))

    def from_unit(self, values: ArrayLike) -> NDArray[np.float64]:
        """The inverse of :meth:`to_unit`; ordinal columns are rounded to the nearest integer."""
        u = np.asarray(values, dtype=np.float64)
        if self.scale == "log":
            return np.asarray(self.low * np.exp(u * np.log(self.high / self.low)))
        x = self.low + u * (self.high - self.low)
        return np.asarray(np.rint(x) if self.scale == "ordinal" else x)

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """``n`` values uniform along the column's scale."""
        if self.scale == "ordinal":
            return rng.integers(int(self.low), int(self.high) + 1, size=n).astype(np.float64)
        return self.from_unit(rng.random(n))


def check_rows(X: ArrayLike, columns: Sequence[Column]) -> NDArray[np.float64]:
    """The query matrix as float64 of shape (n, len(columns)), or one clear line about the first bad value.

    Raises:
        InvalidInputError: Wrong shape, a value that is not finite, outside its column's range, or not an integer
            where the column is ordinal.
    """
    x = np.asarray(X, dtype=np.float64)
    names = ", ".join(c.name for c in columns)
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise InvalidInputError(f"queries have shape (n, {len(columns)}) with columns ({names}), not {x.shape}")
    for j, column in enumerate(columns):
        values = x[:, j]
        # A hair of tolerance: values that went through a log and back may miss the end by one rounding.
        slack = 1e-9 * max(1.0, abs(column.high))
        bad = ~((values >= column.low - slack) & (values <= column.high + slack))  # also catches NaN
        if column.scale == "ordinal":
            bad |= values != np.rint(values)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            kind = "an integer in" if column.scale == "ordinal" else "in"
            legal = f"[{column.low:g}, {column.high:g}] {column.unit}"
            raise InvalidInputError(f"row {row}: {column.name} = {values[row]:g} is not {kind} {legal}")
    return x
