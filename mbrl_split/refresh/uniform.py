"""The two acquisitions that ask the surrogate nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_split.refresh.base import Acquisition, Where
from mbrl_split.surrogates.base import Surrogate


@dataclass(frozen=True)
class RandomAcquisition(Acquisition):
    """Rows uniform over the pool, without repeats while it lasts; by default fresh contexts × every action."""

    where: Where = "design"

    def select(
        self, X_pool: NDArray[np.float64], surrogate: Surrogate, n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        return rng.choice(len(X_pool), size=n, replace=n > len(X_pool)).astype(np.int64)


@dataclass(frozen=True)
class OnPolicyAcquisition(RandomAcquisition):
    """Rows drawn from those that the agent visited since the last refresh: truth where it acts."""

    where: Where = "visited"
