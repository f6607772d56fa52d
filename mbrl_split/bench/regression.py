"""A regression of the costly number on a random design, and its argmax: what the baselines without RL share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mbrl_split.bench.base import Array, CurvePoint, Method, Task
from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh import random_design


class Regressor(Protocol):
    """What a fit gives back."""

    def predict(self, Z: Array, /) -> Array:
        """Numbers (k,) at points of the unit cube (k, d)."""
        ...


@dataclass(frozen=True)
class RegressionArgmax(Method):
    """Measures a random design, fits, looks the best action up; again with half as many rows more.

    Attributes:
        rows: ``"plain"`` learns one row per evaluation; ``"records"`` what the problem makes of the oracle's own
            records, as our surrogates do.
        size: Of one measurement, in the oracle's unit, charged in proportion; None is a whole true evaluation.
        plan: Look ahead to the episode's end on what is predicted, instead of weighing the next action alone.
    """

    rows: Literal["plain", "records"] = "plain"
    size: int | None = None
    plan: bool = False

    def __post_init__(self) -> None:
        if self.rows not in ("plain", "records"):
            raise InvalidInputError(f"rows is 'plain' or 'records', not {self.rows!r}")

    @abstractmethod
    def fit(self, Z: Array, y: Array, groups: NDArray[np.int64], rng: np.random.Generator) -> Regressor:
        """Learn numbers ``y`` (k,) at points ``Z`` of the unit cube (k, d); ``groups`` says which rows were measured
        together."""

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        records = task.problem.record_rows(task.ledger) if self.rows == "records" else None
        rng = task.rng(1)
        for n in task.stages():
            found = task.measure(random_design(task.columns, n, rng), rng, size=self.size)
            if len(found):
                yield CurvePoint(task.lookup(self._predict(task, records), plan=self.plan))
            if len(found) < n:
                return

    def _predict(self, task: Task, records: Any) -> Callable[[Array], Array]:
        if records is not None:
            Z, y, groups = records.rows()
            found: Callable[[Array], Array] = records.predict(self.fit(Z, y, groups, task.rng(4)).predict)
            return found

        def unit(X: Array) -> Array:
            return np.column_stack([c.to_unit(X[:, j]) for j, c in enumerate(task.columns)])

        rows = task.ledger.rows()
        model = self.fit(unit(rows.X), rows.y, np.arange(len(rows)), task.rng(4))
        return lambda X: np.asarray(model.predict(unit(X)))
