"""Bayesian optimisation per context: a grid of contexts, and in each cell a search for its best split.

In every cell a Gaussian process over the split alone models the reward; expected improvement picks the next split
(Jones, Schonlau and Welch 1998, with the best posterior mean in place of the best noisy value). Cells know nothing of
each other: that is the price of treating a contextual problem as many plain ones. A context is served by its nearest
cell.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from mbrl_split import InvalidInputError
from mbrl_split.bench.base import Array, CurvePoint, Method, Task
from mbrl_split.interaction import Policy


@dataclass(frozen=True)
class BayesianOptimisation(Method):
    """The best split of each cell.

    Attributes:
        per_cell: True evaluations in each cell; the budget then says how many cells there are.
        first: Of these, splits evenly spaced to begin with.
    """

    per_cell: int = 8
    first: int = 4

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        rng, varying = task.rng(1), [j for j, c in enumerate(task.context_columns) if c.low < c.high]
        # Shared references are charged once: set that aside before sizing the grid.
        clean = task.ledger.oracle.reference_evaluations
        cells = (task.ledger.remaining - clean) / self.per_cell
        side = int(max(0.0, cells) ** (1 / len(varying))) if np.isfinite(cells) else 0
        if side < 2:
            raise InvalidInputError(
                f"{self.per_cell} evaluations in each of {2 ** len(varying)} cells or more need a budget of at least "
                f"{int(clean) + self.per_cell * 2 ** len(varying)} true evaluations"
            )
        middles = (np.arange(side) + 0.5) / side
        centres = np.stack([a.ravel() for a in np.meshgrid(*[middles] * len(varying), indexing="ij")], axis=1)
        context = np.tile([c.low for c in task.context_columns], (len(centres), 1)).astype(np.float64)
        for axis, j in enumerate(varying):
            context[:, j] = task.context_columns[j].from_unit(centres[:, axis])

        begin = np.unique(np.linspace(task.actions[0], task.actions[-1], self.first).round().astype(np.int64))
        rewards = task.rewards(task.measure_actions(context, rng, begin), context, begin)
        tried = np.tile(begin, (len(context), 1))
        for turn in range(len(begin), self.per_cell + 1):
            beliefs = np.array([self._model(task, t, r) for t, r in zip(tried, rewards, strict=True)])
            means, deviations = beliefs[:, 0], beliefs[:, 1]
            yield CurvePoint(self._policy(task, centres, varying, task.actions[means.argmax(axis=1)]))
            if turn == self.per_cell:
                return
            gain = means - means.max(axis=1, keepdims=True)
            z = gain / deviations
            pick = task.actions[(gain * norm.cdf(z) + deviations * norm.pdf(z)).argmax(axis=1)]
            X = task.query(pick, context)
            found = task.measure(X, rng)
            if len(found) < len(context):
                return
            tried = np.column_stack([tried, pick])
            rewards = np.column_stack([rewards, task.reward_function.reward(found.mean, X)])

    @staticmethod
    def _model(task: Task, tried: NDArray[np.int64], rewards: Array) -> tuple[Array, Array]:
        """Posterior mean and deviation of the noise-free reward at every split."""
        smooth = ConstantKernel(1.0, (0.1, 10.0)) * Matern(0.5, (0.1, 3.0), nu=2.5)
        centre, scale = rewards.mean(), max(float(rewards.std()), 1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianProcessRegressor(smooth + WhiteKernel(0.1, (1e-3, 1.0)), random_state=0)
            model.fit(task.columns[task.reward_function.action].to_unit(tried)[:, None], (rewards - centre) / scale)
        mean, deviation = model.predict(
            task.columns[task.reward_function.action].to_unit(task.actions)[:, None], return_std=True
        )
        noise = model.kernel_.k2.noise_level
        return centre + scale * mean, scale * np.sqrt(np.maximum(deviation**2 - noise, 1e-9))

    @staticmethod
    def _policy(task: Task, centres: Array, varying: list[int], best: NDArray[np.int64]) -> Policy:
        def rule(context: Array) -> NDArray[np.int64]:
            unit = np.column_stack([task.context_columns[j].to_unit(context[:, j]) for j in varying])
            return best[np.square(unit[:, None] - centres[None]).sum(axis=2).argmin(axis=1)]

        return task.problem.rule(rule)
