"""Bayesian linear regression in closed form: the last layer of a network that knows what it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import linalg, optimize

from mbrl_split.surrogates.prediction import Array


@dataclass(frozen=True)
class BayesianLinear:
    """Posterior N(mean, root·rootᵀ) of the weights of z = φ·w + noise, w ~ N(0, 1/α).

    Attributes:
        mean: (k,).
        root: Square root of the posterior covariance, (k, k).
        log_precision: log α.
        log_noise: log of the noise variance of a row of weight one.
    """

    mean: Array
    root: Array
    log_precision: float
    log_noise: float

    @classmethod
    def fit(cls, phi: Array, z: Array, weights: Array, hyper: tuple[float, float] | None = None) -> Self:
        """Fit to features ``phi`` (n, k), targets (n,) and row weights (n,).

        Prior precision and noise maximise the evidence (Bishop 2006, section 3.5) unless ``hyper`` gives their
        logarithms. One eigendecomposition of φᵀφ serves the whole search.
        """
        half = np.sqrt(weights)[:, None]
        phi, z = phi * half, z * half[:, 0]
        eigenvalues, vectors = linalg.eigh(phi.T @ phi)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        projected = vectors.T @ (phi.T @ z)
        n, k, square = len(z), phi.shape[1], float(z @ z)

        def cost(theta: Array) -> float:
            """Minus the log evidence, up to a constant, with a weak prior that keeps it finite on constant targets."""
            alpha, variance = np.exp(theta)
            precision = eigenvalues / variance + alpha
            fit = (square - np.sum(projected**2 / precision) / variance) / variance
            value = 0.5 * (n * theta[1] - k * theta[0] + np.log(precision).sum() + max(fit, 0.0))
            return float(value + 0.05 * np.sum((theta - [np.log(k), np.log(0.1)]) ** 2))

        if hyper is None:
            bounds = [(-5.0, 15.0), (-14.0, 3.0)]
            hyper = tuple(optimize.minimize(cost, [np.log(k), np.log(0.1)], method="L-BFGS-B", bounds=bounds).x)
        alpha, variance = np.exp(hyper[0]), np.exp(hyper[1])
        precision = eigenvalues / variance + alpha
        mean = vectors @ (projected / precision) / variance
        return cls(mean, np.ascontiguousarray(vectors / np.sqrt(precision)), float(hyper[0]), float(hyper[1]))

    def predict(self, phi: Array) -> tuple[Array, Array]:
        """Mean and variance of the noise-free response at features (n, k), each (n,)."""
        return phi @ self.mean, np.sum((phi @ self.root) ** 2, axis=1)

    def draw(self, phi: Array, n: int, rng: np.random.Generator) -> Array:
        """``n`` joint draws of the noise-free response, (n, len(phi)); a draw is one function of φ, so equal
        generators give the same function at any rows."""
        w = self.mean + rng.standard_normal((n, len(self.mean))) @ self.root.T
        return np.asarray(w @ phi.T)
