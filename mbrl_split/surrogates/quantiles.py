"""Predictive distributions given by their quantiles at a fixed set of normal scores: any shape, never crossing."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mbrl_split.surrogates.prediction import Array, Prediction

SCORES = np.linspace(-3.0, 3.0, 25)
"""Normal scores at which quantiles are known: the quantile of probability Φ(t) for each t."""

MASS = np.diff(special.ndtr(np.concatenate([[-np.inf], (SCORES[1:] + SCORES[:-1]) / 2, [np.inf]])))
"""Weights of the quantiles at :data:`SCORES` that integrate over the distribution."""


@dataclass(frozen=True)
class QuantilePrediction(Prediction):
    """A prediction whose quantile function is piecewise linear in the normal score, its end slopes going on."""

    @abstractmethod
    def knots(self) -> Array:
        """Quantiles at :data:`SCORES`, (25, n), not decreasing along the first axis."""

    def quantile(self, q: float) -> Array:
        knots, t = self.knots(), float(special.ndtri(q))
        i = int(np.clip(np.searchsorted(SCORES, t) - 1, 0, len(SCORES) - 2))
        return np.asarray(knots[i] + (t - SCORES[i]) * (knots[i + 1] - knots[i]) / (SCORES[i + 1] - SCORES[i]))

    def cdf(self, y: ArrayLike) -> Array:
        return np.asarray(special.ndtr(self._score(y)[0]))

    def log_density(self, y: ArrayLike) -> Array:
        t, slope = self._score(y)
        return np.asarray(-0.5 * t**2 - 0.5 * np.log(2 * np.pi) + np.log(slope))

    def _score(self, y: ArrayLike) -> tuple[Array, Array]:
        """Normal score of ``y`` (n,) and its derivative."""
        knots, y = self.knots(), np.asarray(y, dtype=np.float64)
        i = np.clip((knots < y).sum(axis=0) - 1, 0, len(SCORES) - 2)
        columns = np.arange(knots.shape[1])
        low, high = knots[i, columns], knots[i + 1, columns]
        # A flat piece is a point mass; a density needs it to have some width.
        step = np.maximum(high - low, 1e-12 * np.maximum(np.abs(low), 1.0))
        slope = (SCORES[1] - SCORES[0]) / step
        return SCORES[i] + slope * (y - low), slope


@dataclass(frozen=True)
class KnotPrediction(QuantilePrediction):
    """A :class:`QuantilePrediction` of given quantiles.

    Attributes:
        values: Quantiles at :data:`SCORES`, (25, n).
    """

    values: Array

    def knots(self) -> Array:
        return self.values


def knots_of(prediction: Prediction) -> Array:
    """Quantiles of any prediction at :data:`SCORES`, (25, n), made not to decrease."""
    return np.maximum.accumulate([prediction.quantile(float(q)) for q in special.ndtr(SCORES)], axis=0)
