"""A regression of the damage on a random design, and its argmax: what the baselines without RL share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mbrl_split.bench.base import Array, CurvePoint, Method, Task
from mbrl_split.layer_split.policies.informed import Ratios
from mbrl_split.layer_split.policies.lookup import lookup_policy
from mbrl_split.refresh import random_design


class Regressor(Protocol):
    """What a fit gives back."""

    def predict(self, Z: Array, /) -> Array:
        """Damages (k,) at points of the unit cube (k, d)."""
        ...


@dataclass(frozen=True)
class RegressionArgmax(Method):
    """Measures a random design, fits, looks the best split up; again with half as many rows more.

    Attributes:
        rows: ``"plain"`` learns one row per evaluation in (split, context); ``"windows"`` one row per window in (split,
            noise/gain), whose curve is averaged over the fading, as our surrogates' is.
        tokens: Scored tokens of one measurement, charged in proportion; None is a whole true evaluation.
        plan: In sessions, look ahead to the end on what is predicted, instead of weighing the next move alone.
    """

    rows: Literal["plain", "windows"] = "plain"
    tokens: int | None = None
    plan: bool = False

    @abstractmethod
    def fit(self, Z: Array, y: Array, groups: NDArray[np.int64], rng: np.random.Generator) -> Regressor:
        """Learn damages ``y`` (k,) at points ``Z`` of the unit cube (k, d); ``groups`` says which rows were measured
        together."""

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        ratios = Ratios(task) if self.rows == "windows" else None
        rng = task.rng(1)
        for n in task.stages():
            found = task.measure(random_design(task.columns, n, rng), rng, tokens=self.tokens)
            if len(found):
                yield CurvePoint(lookup_policy(task, self._damage(task, ratios), plan=self.plan))
            if len(found) < n:
                return

    def _damage(self, task: Task, ratios: Ratios | None) -> Callable[[Array], Array]:
        if ratios is not None:
            return ratios.damage(self.fit(*ratios.rows(), task.rng(4)).predict)

        def unit(X: Array) -> Array:
            return np.column_stack([c.to_unit(X[:, j]) for j, c in enumerate(task.columns)])

        rows = task.ledger.rows()
        model = self.fit(unit(rows.X), rows.y, np.arange(len(rows)), task.rng(4))
        return lambda X: np.asarray(model.predict(unit(X)))
