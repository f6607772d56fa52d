"""A Gaussian process on a random design, and the argmax of its mean: what a user of scikit-learn would write first.

Matérn-5/2 with one length scale per coordinate, white noise, standardised targets, hyper-parameters by marginal
likelihood. ``rows="plain"`` learns one row per evaluation in (split, context); ``rows="windows"`` one row per window in
(split, noise/gain) and averages over the fading, as ours do. No warp, no uneven noise, no choice of rows: that is what
the surrogates of the library add.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from mbrl_split.bench.base import Array, Checkpoint, Method, Task
from mbrl_split.bench.informed import Ratios
from mbrl_split.bench.lookup import lookup_policy
from mbrl_split.refresh import random_design

HYPER_ROWS, MAX_ROWS = 500, 2000
"""Most rows for the hyper-parameters, and to condition on: the cost grows with their cube."""


@dataclass(frozen=True)
class GPArgmax(Method):
    """Argmax of a Gaussian process."""

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
            Z, y, _ = ratios.rows()
            return ratios.damage(_fit(Z, y, task.rng(4)).predict)

        def unit(X: Array) -> Array:
            return np.column_stack([c.to_unit(X[:, j]) for j, c in enumerate(task.columns)])

        rows = task.ledger.rows()
        model = _fit(unit(rows.X), rows.y, task.rng(4))
        return lambda X: np.asarray(model.predict(unit(X)))


def _fit(Z: Array, y: Array, rng: np.random.Generator) -> GaussianProcessRegressor:
    some = rng.permutation(len(Z))[:MAX_ROWS]
    few = some[:HYPER_ROWS]
    kernel = ConstantKernel(1.0) * Matern(np.full(Z.shape[1], 0.5), (0.02, 20.0), nu=2.5) + WhiteKernel(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hyper-parameter at its bound is an answer
        model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(Z[few], y[few])
    if len(some) == len(few):
        return model
    return GaussianProcessRegressor(model.kernel_, optimizer=None, normalize_y=True).fit(Z[some], y[some])
