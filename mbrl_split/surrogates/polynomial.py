"""A cubic polynomial that does not run away."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Self

import numpy as np
from scipy import linalg

from mbrl_split.surrogates.prediction import Array

EDGE = 0.02
"""Share of the rows beyond which, on either side of a coordinate, the polynomial goes on as a constant."""


@dataclass(frozen=True)
class Polynomial:
    """Ridge regression on all monomials up to the third degree.

    Attributes:
        weights: One per monomial.
        low: Per coordinate, where the polynomial begins to vary, (d,).
        high: Per coordinate, where it ceases to, (d,).
    """

    weights: Array
    low: Array
    high: Array

    @classmethod
    def fit(cls, c: Array, z: Array, weights: Array) -> Self:
        """Fit to coordinates ``c`` (n, d), standardised targets (n,) and row weights (n,)."""
        low, high = np.quantile(c[weights > 0], [EDGE, 1 - EDGE], axis=0)
        phi = _monomials(np.clip(c, low, high))
        penalty = np.ones(phi.shape[1])
        penalty[0] = 1e-9  # the constant is free
        gram = phi.T @ (phi * weights[:, None]) + np.diag(penalty)
        return cls(linalg.solve(gram, phi.T @ (weights * z), assume_a="pos"), low, high)

    def __call__(self, c: Array) -> Array:
        """The polynomial at coordinates ``c`` (n, d)."""
        return np.asarray(_monomials(np.clip(c, self.low, self.high)) @ self.weights)


def _monomials(c: Array) -> Array:
    columns = [np.ones(len(c))]
    for degree in (1, 2, 3):
        for chosen in combinations_with_replacement(range(c.shape[1]), degree):
            columns.append(np.prod(c[:, list(chosen)], axis=1))
    return np.column_stack(columns)
