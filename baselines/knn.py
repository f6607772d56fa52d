"""Nearest neighbours of a random design: the damage of a query is the mean of its neighbours'.

``rows="plain"`` learns one row per evaluation in (split, context); ``rows="windows"`` one row per window in (split,
noise/gain) and averages over the fading, as ours do. Coordinates are on [0, 1] along their scales. The number of
neighbours is chosen by cross-validation in which windows of one evaluation stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsRegressor

from mbrl_split.bench.base import Array, Checkpoint, Method, Task
from mbrl_split.bench.informed import Ratios
from mbrl_split.bench.lookup import lookup_policy
from mbrl_split.refresh import random_design

NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80)
_FOLDS = 5


@dataclass(frozen=True)
class KNN(Method):
    """Argmax of a nearest-neighbour regression."""

    rows: Literal["plain", "windows"] = "plain"

    def learn(self, task: Task) -> Iterator[Checkpoint]:
        ratios = Ratios(task) if self.rows == "windows" else None
        rng = task.rng(1)
        for n in task.stages():
            found = task.measure(random_design(task.columns, n, rng), rng)
            if len(found):
                yield Checkpoint(lookup_policy(task, self._damage(task, ratios)))
            if len(found) < n:
                return

    def _damage(self, task: Task, ratios: Ratios | None) -> Callable[[Array], Array]:
        if ratios is not None:
            return ratios.damage(_fit(*ratios.rows()).predict)

        def unit(X: Array) -> Array:
            return np.column_stack([c.to_unit(X[:, j]) for j, c in enumerate(task.columns)])

        rows = task.ledger.rows()
        model = _fit(unit(rows.X), rows.y, np.arange(len(rows)))
        return lambda X: np.asarray(model.predict(unit(X)))


def _fit(Z: Array, y: Array, groups: NDArray[np.int64]) -> KNeighborsRegressor:
    folds = min(_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return KNeighborsRegressor(1).fit(Z, y)
    most = len(Z) - int(np.ceil(len(np.unique(groups)) / folds)) * int(np.bincount(groups).max())
    grid = {"n_neighbors": [k for k in NEIGHBOURS if k <= max(1, most)]}
    search = GridSearchCV(KNeighborsRegressor(), grid, scoring="neg_mean_squared_error", cv=GroupKFold(folds))
    return search.fit(Z, y, groups=groups).best_estimator_
