"""Acquisitions that give every row of the pool a score, and the wrappers that change how a batch is picked from it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh.base import Acquisition, CandidatePool, positive
from mbrl_split.refresh.reward_function import RewardFunction
from mbrl_split.registry import ACQUISITIONS
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
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import MaxEpistemic, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> MaxEpistemic().select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "both"

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        return surrogate.predict(X_pool).std_epistemic


@dataclass(frozen=True)
class _Wrapper(ScoredAcquisition):
    """Another acquisition's score, used otherwise.

    Attributes:
        inner: Whose score: an acquisition, a registered name, or {name: settings}.
    """

    inner: ScoredAcquisition | str | dict[str, dict[str, Any]] = "epistemic"

    def __post_init__(self) -> None:
        made = {self.inner: {}} if isinstance(self.inner, str) else self.inner
        if isinstance(made, dict):
            if len(made) != 1:
                raise InvalidInputError(f"{type(self).__name__}: inner names one acquisition, not {len(made)}")
            [(name, settings)] = made.items()
            made = ACQUISITIONS[name](**settings)
        if not isinstance(made, ScoredAcquisition):
            raise InvalidInputError(f"{type(made).__name__} gives rows no score, which {type(self).__name__} needs")
        object.__setattr__(self, "inner", made)

    @property
    def where(self) -> CandidatePool:  # type: ignore[override]
        return self._inner.where

    @property
    def _inner(self) -> ScoredAcquisition:
        assert isinstance(self.inner, ScoredAcquisition)
        return self.inner

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        return self._inner.score(X_pool, surrogate, rng)


@dataclass(frozen=True)
class CostAware(_Wrapper):
    """Another acquisition's score per unit of what measuring the row costs.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import CostAware, MaxEpistemic, RewardFunction, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> CostAware(MaxEpistemic()).bind(reward_function).select(pool, surrogate, 4, rng).shape
        (4,)

    Attributes:
        reward_function: What measuring a row costs; :meth:`bind` sets it.
    """

    reward_function: RewardFunction | None = None

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        return super().score(X_pool, surrogate, rng) / bound(self).cost(X_pool)


@dataclass(frozen=True)
class Diverse(_Wrapper):
    """Another acquisition's score, picked greedily: each pick fades the score of its neighbours.

    The next row maximises score(x)·Π over picks q of (1 − exp(−‖x − q‖²/(2·radius²))), distances in the unit cube
    (local penalisation in the manner of arXiv:1505.08052).

    Attributes:
        radius: Distance at which a pick stops mattering.
        reward_function: The columns, along which distances are; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import Diverse, MaxEpistemic, RewardFunction, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> Diverse(MaxEpistemic()).bind(reward_function).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    radius: float = 0.1
    reward_function: RewardFunction | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "radius")

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


def bound(acquisition: Acquisition) -> RewardFunction:
    """The reward function that was bound to the acquisition.

    Raises:
        InvalidInputError: None was.
    """
    reward_function: RewardFunction | None = getattr(acquisition, "reward_function", None)
    if reward_function is None:
        raise InvalidInputError(
            f"{type(acquisition).__name__} needs to know the reward: call bind(RewardFunction(...)) first"
        )
    return reward_function
