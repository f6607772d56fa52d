"""Integrated variance: measure what teaches most about everywhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_split.refresh.base import Acquisition, CandidatePool, positive
from mbrl_split.surrogates.base import Surrogate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class IntegratedVariance(Acquisition):
    """Rows that shrink the mean posterior variance over the pool most (ALC; Cohn 1994), one after the other.

    The posterior covariance is estimated from joint draws of the surrogate; measuring row j lowers the variance at i by
    cov(i, j)²/(var(j) + noise(j)), and the covariance is updated by the same rank-one step before the next pick.

    Attributes:
        where: Which pool.
        draws: Posterior draws for the covariance.
        candidates: A larger pool is thinned at random to this many rows.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import IntegratedVariance, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> IntegratedVariance().select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "both"
    draws: int = 64
    candidates: int = 512

    def __post_init__(self) -> None:
        positive(self, "draws", "candidates")

    def select(self, X_pool: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        keep = np.arange(len(X_pool))
        if len(keep) > self.candidates:
            keep = np.sort(rng.choice(keep, self.candidates, replace=False))
        X = X_pool[keep]
        noise = surrogate.predict(X).std_aleatoric ** 2 + 1e-12
        f = surrogate.sample(X, self.draws, rng)
        covariance = np.cov(f, rowvar=False).reshape(len(X), len(X))
        picks = np.empty(n, np.int64)
        for k in range(n):
            shrink = np.sum(covariance**2, axis=0) / (np.maximum(np.diag(covariance), 0) + noise)
            j = int(np.argmax(shrink))
            picks[k] = keep[j]
            covariance = covariance - np.outer(covariance[:, j], covariance[j]) / (covariance[j, j] + noise[j])
        return picks
