"""Reward-aware acquisitions: they pay where the answer could change which action is best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_split.refresh.base import Acquisition, CandidatePool, positive
from mbrl_split.refresh.reward_function import RewardFunction, best_in_context
from mbrl_split.refresh.scored import ScoredAcquisition, bound
from mbrl_split.surrogates.base import Surrogate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class UCB(Acquisition):
    """Optimistic querying: in contexts drawn at random, the row that could be best, mean ± kappa·std_epistemic.

    The optimistic end is the one with the higher reward, so the number may be a cost or a gain.

    Attributes:
        where: Which pool.
        kappa: Width of the interval, in epistemic standard deviations.
        reward_function: How a prediction becomes a reward; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import UCB, RewardFunction, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> UCB().bind(reward_function).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "design"
    kappa: float = 2.0
    reward_function: RewardFunction | None = None

    def __post_init__(self) -> None:
        if not self.kappa >= 0:
            positive(self, "kappa")

    def select(self, X_pool: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        reward_function = bound(self)
        p = surrogate.predict(X_pool)
        ends = np.stack([p.mean - self.kappa * p.std_epistemic, p.mean + self.kappa * p.std_epistemic])
        best = best_in_context(reward_function.reward(ends, X_pool).max(axis=0), reward_function.contexts(X_pool))
        return best[_contexts_at_random(len(best), n, rng)]


@dataclass(frozen=True)
class Thompson(Acquisition):
    """Each query is the best row of a random context in a posterior draw of its own (Thompson 1933).

    Attributes:
        where: Which pool.
        reward_function: How a prediction becomes a reward; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import RewardFunction, Thompson, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> Thompson().bind(reward_function).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "design"
    reward_function: RewardFunction | None = None

    def select(self, X_pool: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        reward_function = bound(self)
        labels = reward_function.contexts(X_pool)
        rewards = reward_function.reward(surrogate.sample(X_pool, n, rng), X_pool)
        chosen = _contexts_at_random(int(labels.max()) + 1, n, rng)
        rows = [np.flatnonzero(labels == c) for c in chosen]
        return np.array([r[np.argmax(rewards[k, r])] for k, r in enumerate(rows)], dtype=np.int64)


@dataclass(frozen=True)
class Disagreement(ScoredAcquisition):
    """Query by committee about the *decision*: rows that about half of the posterior draws call their context's best.

    The score is the variance v·(1 − v) of the vote share v; a row that never or always wins scores 0.

    Attributes:
        where: Which pool.
        draws: Posterior draws that vote.
        reward_function: How a prediction becomes a reward; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import Disagreement, RewardFunction, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> Disagreement().bind(reward_function).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "design"
    draws: int = 32
    reward_function: RewardFunction | None = None

    def __post_init__(self) -> None:
        positive(self, "draws")

    def score(self, X_pool: Array, surrogate: Surrogate, rng: np.random.Generator) -> Array:
        reward_function = bound(self)
        labels = reward_function.contexts(X_pool)
        rewards = reward_function.reward(surrogate.sample(X_pool, self.draws, rng), X_pool)
        votes = np.zeros(len(X_pool))
        for reward in rewards:
            votes[best_in_context(reward, labels)] += 1
        share = votes / self.draws
        return share * (1 - share)


@dataclass(frozen=True)
class TopTwo(Acquisition):
    """The boundary between the best and the second-best action, where telling them apart is hardest.

    Per context the rewards of the two rows with the highest mean differ by Δ ± s; contexts with the smallest Δ/s are
    chosen, and in each of them the less certain of the two rows is measured (after top-two sampling, Russo 2016).

    Attributes:
        where: Which pool.
        reward_function: How a prediction becomes a reward; :meth:`bind` sets it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import RewardFunction, TopTwo, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> TopTwo().bind(reward_function).select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "design"
    reward_function: RewardFunction | None = None

    def select(self, X_pool: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        reward_function = bound(self)
        labels = reward_function.contexts(X_pool)
        p = surrogate.predict(X_pool)
        reward = reward_function.reward(p.mean, X_pool)
        ends = reward_function.reward(np.stack([p.mean - p.std_epistemic, p.mean + p.std_epistemic]), X_pool)
        std = np.abs(ends[1] - ends[0]) / 2
        first = best_in_context(reward, labels)
        rest = reward.copy()
        rest[first] = -np.inf
        second = best_in_context(rest, labels)
        z = (reward[first] - rest[second]) / np.maximum(np.hypot(std[first], std[second]), 1e-12)
        less_sure = np.where(std[second] > std[first], second, first)
        order = np.lexsort((rng.random(len(z)), z))
        return np.resize(less_sure[order], n).astype(np.int64)


def _contexts_at_random(n_contexts: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` of the contexts, without repeats while they last."""
    return rng.choice(n_contexts, size=n, replace=n > n_contexts).astype(np.int64)
