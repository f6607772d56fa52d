"""Nearest neighbours of a random design: the damage of a query is the mean of its neighbours'.

``rows="plain"`` learns one row per evaluation in (split, context); ``rows="records"`` one row per window in (split,
noise/gain) and averages over the fading, as ours do. Coordinates are on [0, 1] along their scales. The number of
neighbours is chosen by cross-validation in which windows of one evaluation stay together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsRegressor

from mbrl_split.bench.base import Array
from mbrl_split.bench.regression import RegressionArgmax

NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80)
_FOLDS = 5


@dataclass(frozen=True)
class KNN(RegressionArgmax):
    """Argmax of a nearest-neighbour regression."""

    def fit(self, Z: Array, y: Array, groups: NDArray[np.int64], rng: np.random.Generator) -> KNeighborsRegressor:
        folds = min(_FOLDS, len(np.unique(groups)))
        if folds < 2:
            return KNeighborsRegressor(1).fit(Z, y)
        most = len(Z) - int(np.ceil(len(np.unique(groups)) / folds)) * int(np.bincount(groups).max())
        grid = {"n_neighbors": [k for k in NEIGHBOURS if k <= max(1, most)]}
        search = GridSearchCV(KNeighborsRegressor(), grid, scoring="neg_mean_squared_error", cv=GroupKFold(folds))
        return search.fit(Z, y, groups=groups).best_estimator_
