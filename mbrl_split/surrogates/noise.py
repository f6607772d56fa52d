"""How noisy one fresh target is, where, and in what shape: learned from out-of-sample residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import optimize, special

from mbrl_split.surrogates.prediction import Array, along


@dataclass(frozen=True)
class NoiseModel:
    """Latent noise variance exp(w·ψ) with ψ = (1, c, c², μ, μ²): coordinates, predicted mean, and their squares.

    Attributes:
        weights: w, (2d + 3,).
        inflation: Factor on the surrogate's own epistemic standard deviation.
    """

    weights: Array
    inflation: float

    @classmethod
    def fit(cls, c: Array, mean: Array, var_epistemic: Array, residuals: Array, base: Array | float = 1.0) -> Self:
        """Maximum a posteriori fit to out-of-sample residuals (n,) of predictions at coordinates ``c`` (n, d).

        A residual is normal with variance inflation²·var_epistemic + base·exp(w·ψ). The prior keeps the noise even
        and the inflation near one until many residuals say otherwise.

        Args:
            c: (n, d).
            mean: Latent predicted means, (n,).
            var_epistemic: Latent variance of the mean, (n,).
            residuals: Latent target minus ``mean``, (n,).
            base: Noise variance that the surrogate itself predicts (1 where it predicts none), (n,) or one for all.
        """
        psi = _features(c, mean)
        width = psi.shape[1]
        prior_mean, precision = np.zeros(width + 1), np.full(width + 1, 10.0)
        prior_mean[0] = np.log(max(float(np.mean(residuals**2 / base)), 1e-12)) if len(residuals) else 0.0
        precision[0], precision[-1] = 0.1, 4.0  # the last parameter is log inflation

        log_base = np.log(base)

        def objective(theta: Array) -> tuple[float, Array]:
            noise = np.exp(np.clip(log_base + psi @ theta[:-1], -30, 5))
            spread = np.exp(2 * theta[-1]) * var_epistemic
            total = noise + spread + 1e-12
            pull = 0.5 * (1 / total - residuals**2 / total**2)
            gap = theta - prior_mean
            value = 0.5 * np.sum(np.log(total) + residuals**2 / total) + 0.5 * np.sum(precision * gap**2)
            gradient = np.append(psi.T @ (pull * noise), 2 * np.sum(pull * spread)) + precision * gap
            return float(value), gradient

        # Residuals cannot tell a modest mean from a noisy target; an inflation below one would let noise pass for
        # knowledge.
        bounds = [(None, None)] * width + [(0.0, 1.5)]
        found = optimize.minimize(objective, prior_mean, jac=True, method="L-BFGS-B", bounds=bounds)
        weights, inflation = found.x[:-1], float(np.exp(found.x[-1]))
        if len(residuals):
            # The log variance is itself uncertain, by v = ψᵀ·Σ·ψ with Σ from Laplace's approximation (the information
            # of one residual is ψψᵀ/2). Averaging over it widens the 90 % interval as a variance exp(v) times greater
            # would: for one parameter and n residuals exp(2/n), as Student's t. Here v is its mean over the rows.
            covariance = np.linalg.inv(psi.T @ psi / 2 + np.diag(precision[:-1]))
            weights[0] += np.mean(np.sum((psi @ covariance) * psi, axis=1))
        return cls(weights, inflation)

    def variance(self, c: Array, mean: Array, base: Array | float = 1.0) -> Array:
        """Latent noise variance (n,) at coordinates ``c`` (n, d) with predicted latent means (n,)."""
        return np.asarray(np.exp(np.clip(np.log(base) + _features(c, mean) @ self.weights, -30, 5)))


def _features(c: Array, mean: Array) -> Array:
    # Clipped: beyond the rows' range the noise stays what it was at its edge.
    c, mean = np.clip(c, -2.5, 2.5), np.clip(mean, -3, 3)
    return np.column_stack([np.ones(len(c)), c, c**2 - 1, mean, mean**2 - 1])


def shrink_variances(known: Array, c: Array, z: Array) -> Array:
    """Known noise variances (n,), halfway (geometrically) to their own trend over coordinates and targets.

    A standard error is itself estimated, often from a few skewed parts, and comes out small where the mean does:
    taken at its word it would pull every fit towards the low targets. A row whose error is unknown (nan: one part
    says nothing of its own) is given the trend, lest it pass for exact; zeros where no row knows better.
    """
    on, unknown = known > 0, np.isnan(known)
    out = np.zeros_like(known)
    if on.any():
        trend = NoiseModel.fit(c[on], z[on], np.zeros(on.sum()), np.sqrt(known[on]))
        out[on] = np.sqrt(known[on] * trend.variance(c[on], z[on]))
        out[unknown] = trend.variance(c[unknown], z[unknown])
    return out


@dataclass(frozen=True)
class Shape:
    """Shape of standardised noise, as equally likely nodes of mean 0 and variance 1, ascending.

    Attributes:
        nodes: (k,).
    """

    nodes: Array

    @classmethod
    def fit(cls, residuals: Array, *, k: int = 33, prior_rows: float = 30.0) -> Self:
        """From standardised out-of-sample residuals, mixed with a Gaussian worth ``prior_rows`` of them, so that a
        handful of residuals does not pretend to know its tails."""
        values, probability = mixed_with_normal(residuals, k, prior_rows)
        nodes = np.interp((np.arange(k) + 0.5) / k, probability, values)
        nodes = nodes - nodes.mean()
        return cls(nodes / nodes.std())

    def quantile(self, q: float) -> Array:
        """Standardised quantile, (1,): linear between knots over the normal score, and beyond them along the ends."""
        return along(special.ndtri(q), *self._curve())[0]

    def normal_score(self, e: Array) -> tuple[Array, Array]:
        """Normal score t(e) of standardised values and its derivative: the inverse of :meth:`quantile`."""
        knots, values = self._curve()
        return along(e, values, knots)

    def _curve(self) -> tuple[Array, Array]:
        """Normal scores and values, (7, 1): enough for skewness, tails and two modes, and few enough to have a usable
        density."""
        knots = special.ndtri([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
        own = special.ndtri((np.arange(len(self.nodes)) + 0.5) / len(self.nodes))
        values = np.interp(knots, own, self.nodes)
        steps = np.maximum(np.diff(values), 0.2 * np.diff(knots))  # no spikes of density, no crossing quantiles
        values = np.concatenate([[0.0], np.cumsum(steps)]) + values[3] - steps[:3].sum()
        return knots[:, None], values[:, None]


def mixed_with_normal(found: Array, k: int, prior_rows: float) -> tuple[Array, Array]:
    """Values in ascending order and the probability of each, (len(found) + k,): those found, and ``k`` equally likely
    ones of the standard normal law that together are worth ``prior_rows`` of them."""
    values = np.concatenate([found, special.ndtri((np.arange(k) + 0.5) / k)])
    weights = np.concatenate([np.ones(len(found)), np.full(k, prior_rows / k)])
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    return values, (np.cumsum(weights) - 0.5 * weights) / weights.sum()
