"""The exhaustive table, informed: every window of a measurement is a point on its split's curve of noise/gain.

The same rows as our surrogates learn from, and no learning machinery: for each split, damage against the logarithm of
noise/gain is piecewise linear between evenly spaced knots, fitted by least squares; a faint penalty on kinks decides
where few windows fall. A context's damage is the curve's exact average over the fading. Contexts are a random design,
every split measured in each of them on common random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mbrl_split.bench.base import Array, CurvePoint, Method, Task


@dataclass(frozen=True)
class WindowTable(Method):
    """One piecewise-linear curve per split.

    Attributes:
        knots: Of each curve.
        kink: Weight of the squared second differences, in windows.
        plan: In sessions, look ahead to the end on the curves, instead of weighing the next move alone.
    """

    knots: int = 16
    kink: float = 0.3
    plan: bool = False

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        ratios, rng = task.problem.record_rows(task.ledger), task.rng(1)
        for n in task.stages(first=2):
            damage = task.measure_actions(task.contexts(n, rng), rng)
            if len(damage):
                Z, y, _ = ratios.rows()
                curves = self._curves(task, Z, y)
                damage_at = ratios.predict(lambda points, c=curves: self._read(task, c, points))
                yield CurvePoint(task.lookup(damage_at, plan=self.plan))
            if len(damage) < n:
                return

    def _curves(self, task: Task, Z: Array, y: Array) -> Array:
        """Values at the knots, (splits, knots)."""
        kinks = np.diff(np.eye(self.knots), n=2, axis=0)
        place = self._place(task, Z)
        curves = np.empty((len(task.actions), self.knots))
        for p in range(len(task.actions)):
            weights = _hat_weights(Z[place == p, 1], self.knots)
            curves[p] = np.linalg.solve(
                weights.T @ weights + self.kink * kinks.T @ kinks + 1e-9 * np.eye(self.knots), weights.T @ y[place == p]
            )
        return curves

    def _read(self, task: Task, curves: Array, points: Array) -> Array:
        return np.einsum("nk,nk->n", _hat_weights(points[:, 1], self.knots), curves[self._place(task, points)])

    @staticmethod
    def _place(task: Task, Z: Array) -> np.ndarray:
        """Which split each row is of, counted from 0."""
        return np.rint(Z[:, 0] * (len(task.actions) - 1)).astype(np.int64)


def _hat_weights(x: Array, knots: int) -> Array:
    """Weights (n, knots) of linear interpolation between even knots on [0, 1]."""
    return np.maximum(0.0, 1.0 - np.abs(x[:, None] * (knots - 1) - np.arange(knots)))
