"""The two acquisitions that ask the surrogate nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_split.refresh.base import Acquisition, CandidatePool
from mbrl_split.surrogates.base import Surrogate


@dataclass(frozen=True)
class RandomAcquisition(Acquisition):
    """Rows uniform over the pool, without repeats while it lasts; by default fresh contexts × every action.

    Attributes:
        where: Which pool.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import RandomAcquisition, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> RandomAcquisition().select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "design"

    def select(
        self, X_pool: NDArray[np.float64], surrogate: Surrogate, n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        return rng.choice(len(X_pool), size=n, replace=n > len(X_pool)).astype(np.int64)


@dataclass(frozen=True)
class OnPolicyAcquisition(RandomAcquisition):
    """Rows drawn from those that the agent visited since the last refresh: truth where it acts.

    Attributes:
        where: Which pool.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import OnPolicyAcquisition, design_pool
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> pool = design_pool(columns, 20, rng)  # twenty contexts, every level
        >>> surrogate = GPSurrogate().fit(pool[::9], pool[::9, 1] / pool[::9, 0], columns=columns)
        >>> OnPolicyAcquisition().select(pool, surrogate, 4, rng).shape
        (4,)
    """

    where: CandidatePool = "visited"
