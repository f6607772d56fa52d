"""What a surrogate answers: a predictive distribution per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

SCORES = np.linspace(-3.0, 3.0, 25)
"""Normal scores at which a :class:`QuantilePrediction` knows its quantiles: that of probability Φ(t) for each t."""

MASS = np.diff(special.ndtr(np.concatenate([[-np.inf], (SCORES[1:] + SCORES[:-1]) / 2, [np.inf]])))
"""Weights of the quantiles at :data:`SCORES` that integrate over the distribution."""


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


@dataclass(frozen=True)
class QuantilePrediction(Prediction):
    """A distribution of any shape, whose quantile function is piecewise linear in the normal score.

    Attributes:
        find_knots: Gives the quantiles at :data:`SCORES`, (25, n), not decreasing along the first axis. Called only if
            somebody asks for more than the moments, which often cost far less.
    """

    find_knots: Callable[[], Array]

    @cached_property
    def knots(self) -> Array:
        """Quantiles at :data:`SCORES`, (25, n)."""
        return self.find_knots()

    def quantile(self, q: float) -> Array:
        return along(special.ndtri(q), SCORES[:, None], self.knots)[0]

    def cdf(self, y: ArrayLike) -> Array:
        return np.asarray(special.ndtr(along(y, self.knots, SCORES[:, None])[0]))

    def log_density(self, y: ArrayLike) -> Array:
        t, slope = along(y, self.knots, SCORES[:, None])
        return np.asarray(-0.5 * t**2 - 0.5 * np.log(2 * np.pi) + np.log(slope))


def knots_of(prediction: Prediction, scores: Array = SCORES) -> Array:
    """Quantiles of any prediction at normal scores, (scores, n)."""
    return np.array([prediction.quantile(float(q)) for q in special.ndtr(scores)])


def along(x: ArrayLike, xs: Array, ys: Array) -> tuple[Array, Array]:
    """Value and slope at ``x`` (n,) of the line through points (``xs``, ``ys``), whose end pieces go on.

    Points ascend along the first axis: (k, n), or (k, 1) for the same at every ``x``.
    """
    xs, ys, at = np.broadcast_arrays(xs, ys, np.asarray(x, dtype=np.float64))
    piece = np.clip((xs < at).sum(axis=0) - 1, 0, len(xs) - 2)
    ends = np.stack([piece, piece + 1])
    (x0, x1), (y0, y1) = np.take_along_axis(xs, ends, axis=0), np.take_along_axis(ys, ends, axis=0)
    # A flat piece is a point mass; a density needs it to have some width.
    slope = (y1 - y0) / np.maximum(x1 - x0, 1e-12 * np.maximum(np.abs(x0), 1.0))
    return y0 + slope * (at[0] - x0), slope


def floored(std: Array, mean: Array) -> Array:
    """``std``, kept away from zero (a surrogate may be certain of a constant) so that it can be divided by."""
    return np.maximum(std, 1e-12 * np.maximum(np.abs(mean), 1.0))
