"""Acquisitions that give every row of the pool a score, and the wrappers that change how a batch is picked from it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import BadInput
from mbrl_split.refresh.base import Acquisition, Where, positive
from mbrl_split.refresh.objective import Objective
from mbrl_split.surrogates.base import Surrogate

Array = NDArray[np.float64]


class ScoredAcquisition(Acquisition):
    """Picks the ``n`` highest scores; ties are broken at random. Beyond the pool's end it starts again from the top."""

    @abstractmethod
    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        """How much each row is worth measuring, shape (n_pool,); at least 0."""

    def select(self, X_pool: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        score = self.score(X_pool, surrogate, rng)
        order = np.lexsort((rng.random(len(score)), -score))
        return np.resize(order, n).astype(np.int64)


@dataclass(frozen=True)
class MaxEpistemic(ScoredAcquisition):
    """The rows whose mean is least known.

    It spends on corners that never win the argmax: a yardstick, rarely a choice.

    Attributes:
        where: Which pool.

    Example:
        >>> import numpy as np
        >>> from mbrl_split import scenario
        >>> from mbrl_split.refresh import design_pool, MaxEpistemic
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> rng, columns = np.random.default_rng(0), scenario("equalised").columns(n_layers=12)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every split
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> MaxEpistemic().select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: Where = "both"

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        return surrogate.predict(X_pool).std_epistemic


@dataclass(frozen=True)
class CostAware(ScoredAcquisition):
    """Another acquisition's score per unit of cost: deep splits are cheaper to measure, fewer layers are replayed.

    Attributes:
        inner: Whose score.
        objective: What measuring a row costs; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split import scenario
        >>> from mbrl_split.refresh import CostAware, MaxEpistemic, Objective, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> rng, columns = np.random.default_rng(0), scenario("equalised").columns(n_layers=12)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every split
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> objective = Objective(columns, reward=lambda damage, X: -3 * damage + 1 - X[:, 0] / 12)
        >>> CostAware(MaxEpistemic()).bind(objective).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    inner: ScoredAcquisition
    objective: Objective | None = None

    @property
    def where(self) -> Where:  # type: ignore[override]
        return self.inner.where

    def bind(self, objective: Objective) -> Self:
        return replace(self, inner=self.inner.bind(objective), objective=objective)

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        return self.inner.score(X_pool, surrogate, rng) / bound(self).cost(X_pool)


@dataclass(frozen=True)
class Diverse(ScoredAcquisition):
    """Another acquisition's score, picked greedily: each pick fades the score of its neighbours.

    The next row maximises score(x)·Π over picks q of (1 − exp(−‖x − q‖²/(2·radius²))), distances in the unit cube
    (local penalisation in the manner of arXiv:1505.08052).

    Attributes:
        inner: Whose score.
        radius: Distance at which a pick stops mattering.
        objective: The columns, along which distances are; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split import scenario
        >>> from mbrl_split.refresh import Diverse, MaxEpistemic, Objective, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> rng, columns = np.random.default_rng(0), scenario("equalised").columns(n_layers=12)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every split
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> objective = Objective(columns, reward=lambda damage, X: -3 * damage + 1 - X[:, 0] / 12)
        >>> Diverse(MaxEpistemic()).bind(objective).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    inner: ScoredAcquisition
    radius: float = 0.1
    objective: Objective | None = None

    def __post_init__(self) -> None:
        positive(self, "radius")

    @property
    def where(self) -> Where:  # type: ignore[override]
        return self.inner.where

    def bind(self, objective: Objective) -> Self:
        return replace(self, inner=self.inner.bind(objective), objective=objective)

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        return self.inner.score(X_pool, surrogate, rng)

    def select(self, X_pool: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        unit = bound(self).unit(X_pool)
        # A floor keeps rows of score 0 in play once the others have faded; the noise breaks ties.
        score = self.score(X_pool, surrogate, rng)
        log_score = np.log(np.maximum(score, 1e-12)) + 1e-9 * rng.random(len(score))
        picks = np.empty(n, np.int64)
        for k in range(n):
            picks[k] = np.argmax(log_score)
            distance = np.sum((unit - unit[picks[k]]) ** 2, axis=1)
            log_score += np.log1p(-np.exp(-distance / (2 * self.radius**2)) * (1 - 1e-12))
        return picks


def bound(acquisition: Acquisition) -> Objective:
    """The objective that was bound to the acquisition.

    Raises:
        BadInput: None was.
    """
    objective: Objective | None = getattr(acquisition, "objective", None)
    if objective is None:
        raise BadInput(f"{type(acquisition).__name__} needs to know the reward: call bind(Objective(...)) first")
    return objective
