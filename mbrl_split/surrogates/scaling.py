"""Inputs as dimensionless coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mbrl_split.columns import Column
from mbrl_split.surrogates.prediction import Array


@dataclass(frozen=True)
class InputScaler:
    """Affine map of inputs (after a logarithm where the column says so) to about zero mean and unit variance.

    Attributes:
        log: Which columns are taken by their logarithm, (d,).
        centre: (d,).
        spread: (d,).
    """

    log: Array
    centre: Array
    spread: Array

    @classmethod
    def fit(cls, x: Array, columns: Sequence[Column] | None) -> Self:
        """With columns: unit variance over the declared range, so it does not depend on which rows came first.
        Without: the rows' own mean and standard deviation. An ordinal column is a coordinate like any other."""
        if columns is None:
            centre, spread = x.mean(axis=0), x.std(axis=0)
            # Duplicates summed in floating point leave a spread of rounding errors, not of data.
            constant = spread <= 1e-12 * np.maximum(np.abs(centre), 1e-300)
            return cls(np.zeros(x.shape[1]), centre, np.where(constant, 1.0, spread))
        log = np.array([c.scale == "log" for c in columns], dtype=np.float64)
        ends = np.array([[c.low, c.high] for c in columns]).T
        low, high = np.where(log > 0, np.log(np.where(log > 0, ends, 1.0)), ends)
        return cls(log, (low + high) / 2, np.where(high > low, (high - low) / np.sqrt(12.0), 1.0))

    def __call__(self, x: Array) -> Array:
        """Coordinates (n, d) of inputs (n, d)."""
        on = self.log > 0
        if on.any():
            x = np.where(on, np.log(np.where(on, x, 1.0)), x)
        return np.asarray((x - self.centre) / self.spread)
