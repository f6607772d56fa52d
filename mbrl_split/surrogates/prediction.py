"""What a surrogate answers: a predictive distribution per row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """A predictive distribution per row; all arrays (n,), in the target's unit.

    The default shape is Gaussian; surrogates with skewed or bimodal noise return a subclass with its own
    :meth:`quantile`, :meth:`cdf` and :meth:`log_density`.

    Attributes:
        mean: Predicted mean of the target.
        std_epistemic: Uncertainty about the mean function: shrinks with more rows. Acquisitions use this part only.
        std_aleatoric: Noise of one fresh measurement around the mean: stays.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import Prediction
        >>> prediction = Prediction(mean=np.array([1.0]), std_epistemic=np.array([0.3]), std_aleatoric=np.array([0.4]))
        >>> low, high = prediction.interval(0.95)
        >>> prediction.std, np.round([low[0], high[0]], 2)
        (array([0.5]), array([0.02, 1.98]))
    """

    mean: Array
    std_epistemic: Array
    std_aleatoric: Array

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def std(self) -> Array:
        """Total standard deviation of one fresh measurement."""
        return np.hypot(self.std_epistemic, self.std_aleatoric)

    def quantile(self, q: float) -> Array:
        """The q-quantile of one fresh measurement, shape (n,)."""
        return np.asarray(self.mean + special.ndtri(q) * self.std)

    def interval(self, level: float) -> tuple[Array, Array]:
        """The central interval that holds one fresh measurement with probability ``level``."""
        return self.quantile(0.5 - level / 2), self.quantile(0.5 + level / 2)

    def cdf(self, y: ArrayLike) -> Array:
        """Probability that one fresh measurement is at most ``y`` (n,)."""
        return np.asarray(special.ndtr((np.asarray(y) - self.mean) / floored(self.std, self.mean)))

    def log_density(self, y: ArrayLike) -> Array:
        """Logarithm of the predictive density at ``y`` (n,)."""
        std = floored(self.std, self.mean)
        return np.asarray(-0.5 * ((np.asarray(y) - self.mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi))


def floored(std: Array, mean: Array) -> Array:
    """``std``, kept away from zero (a surrogate may be certain of a constant) so that it can be divided by."""
    return np.maximum(std, 1e-12 * np.maximum(np.abs(mean), 1.0))
