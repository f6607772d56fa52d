"""A surrogate without structure in depth: one for each split, which learns nothing from its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mbrl_split.columns import Column
from mbrl_split.surrogates import GPSurrogate
from mbrl_split.surrogates.prediction import QuantilePrediction, knots_of

Array = NDArray[np.float64]


class OnePerSplit:
    """``fit``, ``predict`` and ``sample`` as FadingSurrogate asks for them; a split without rows is given all rows."""

    def __init__(self, make: Callable[[], Any] = GPSurrogate) -> None:
        self.make = make

    def fit(self, X: Array, y: Array, *, std_error: Any = None, groups: Array, columns: Sequence[Column]) -> Self:
        self.models = {}
        for split in np.arange(columns[0].low, columns[0].high + 1):
            own = X[:, 0] == split
            own = own if own.any() else np.ones(len(X), dtype=bool)
            self.models[split] = self.make().fit(X[own, 1:], y[own], groups=groups[own], columns=columns[1:])
        return self

    def predict(self, X: Array) -> QuantilePrediction:
        parts, order = zip(*[(self.models[s].predict(X[rows, 1:]), rows) for s, rows in self._rows(X)], strict=True)
        back = np.argsort(np.concatenate(order))
        mean, epistemic, aleatoric = (
            np.concatenate([getattr(p, name) for p in parts])[back]
            for name in ("mean", "std_epistemic", "std_aleatoric")
        )
        knots = np.concatenate([knots_of(p) for p in parts], axis=1)[:, back]
        return QuantilePrediction(mean, epistemic, aleatoric, lambda: knots)

    def sample(self, X: Array, n: int, rng: np.random.Generator) -> Array:
        out = np.empty((n, len(X)))
        for split, rows in self._rows(X):
            out[:, rows] = self.models[split].sample(X[rows, 1:], n, rng)
        return out

    def _rows(self, X: Array) -> list[tuple[float, NDArray[np.intp]]]:
        return [(s, np.flatnonzero(X[:, 0] == s)) for s in np.unique(X[:, 0])]
