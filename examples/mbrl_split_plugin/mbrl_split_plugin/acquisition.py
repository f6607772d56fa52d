"""An acquisition: rows as far from one another as the pool allows."""

from dataclasses import dataclass

import numpy as np

from mbrl_split.refresh import Acquisition


@dataclass(frozen=True)
class Spread(Acquisition):
    """Farthest-point sampling (Gonzalez, 1985), each column scaled to the range that it has in the pool."""

    where: str = "design"

    def select(self, X_pool, surrogate, n, rng):
        unit = (X_pool - X_pool.min(axis=0)) / (np.ptp(X_pool, axis=0) + 1e-12)
        chosen = [int(rng.integers(len(unit)))]
        gap = np.linalg.norm(unit - unit[chosen[0]], axis=1)
        while len(chosen) < n:
            chosen.append(int(gap.argmax()))
            gap = np.minimum(gap, np.linalg.norm(unit - unit[chosen[-1]], axis=1))
        return np.array(chosen)
