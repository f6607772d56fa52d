"""A target scale on which a heavy-tailed cost is easy to learn, and the way back without bias.

The noise of such a cost grows with its mean. On the scale z = asinh(y/s) such noise is nearly even: for
noise of standard deviation a + b·y the variance-stabilising map is log(y + a/b), and asinh is its version that also
takes the small negative values that noise produces. The price is the way back: the mean of the target is not the
target of the mean. It is integrated here numerically over posterior and noise, never read off the median.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special
from scipy.spatial.distance import cdist

from mbrl_split.surrogates.noise import Shape
from mbrl_split.surrogates.prediction import Array, Prediction

_SCALES = (np.inf, 3.0, 1.0, 0.3, 0.1, 0.05)
# In units of the targets' root mean square. Smaller ones can be likelier still, but spend the rows on telling harmless
# from more harmless, and decisions are made in the target's own unit.
_POSTERIOR_NODES, _POSTERIOR_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_POSTERIOR_WEIGHTS = _POSTERIOR_WEIGHTS / _POSTERIOR_WEIGHTS.sum()


@dataclass(frozen=True)
class Warp:
    """Targets y to latent z = (asinh(y/scale) − centre)/spread and back; an infinite scale is the affine map.

    Attributes:
        scale: s, in the target's unit: linear well below, logarithmic well above.
        centre: Mean of the training targets on the warped scale.
        spread: Their standard deviation on it (1 where they do not vary).
        low: Latent value below which the way back stays constant: an exponential must not run off between rows.
        high: The same above.
    """

    scale: float
    centre: float
    spread: float
    low: float
    high: float

    @classmethod
    def fit(cls, y: Array, scale: float) -> Self:
        """Standardise ``y`` on the warped scale."""
        warped = y if np.isinf(scale) else np.arcsinh(y / scale)
        centre, spread = float(warped.mean()), float(warped.std())
        if spread <= 1e-12 * max(abs(centre), 1e-300):
            centre, spread = float(warped[0]), abs(float(warped[0])) or 1.0  # one value: its own size is the scale
        return cls(scale, centre, spread, -np.inf, np.inf).bounded(y)

    def bounded(self, y: Array) -> Self:
        """The same map, its way back limited to the range of ``y`` widened by its own length on either side."""
        if np.isinf(self.scale):
            return self
        low, high = float(y.min()), float(y.max())
        ends = self.to_latent(np.array([2 * low - high, 2 * high - low]))
        return replace(self, low=float(ends[0]), high=float(ends[1]))

    def to_latent(self, y: ArrayLike) -> Array:
        """Latent values of targets, any shape."""
        y = np.asarray(y, dtype=np.float64)
        warped = y if np.isinf(self.scale) else np.arcsinh(y / self.scale)
        return np.asarray((warped - self.centre) / self.spread)

    def to_target(self, z: ArrayLike) -> Array:
        """Targets of latent values, any shape."""
        z = np.clip(np.asarray(z, dtype=np.float64), self.low, self.high)
        warped = z * self.spread + self.centre
        return np.asarray(warped if np.isinf(self.scale) else self.scale * np.sinh(warped))

    def slope(self, y: ArrayLike) -> Array:
        """dz/dy at targets, any shape."""
        y = np.asarray(y, dtype=np.float64)
        steepness = np.ones_like(y) if np.isinf(self.scale) else 1 / np.hypot(y, self.scale)
        return np.asarray(steepness / self.spread)

    def noisy_mean(self, z: Array, noise: Array, shape: Shape) -> tuple[Array, Array]:
        """Mean and variance of the target when noise of standard deviation ``noise`` and the given shape is added to
        the latent value ``z``; all of one shape."""
        if np.isinf(self.scale):
            return self.to_target(z), (noise * self.spread) ** 2
        total, square = np.zeros_like(z), np.zeros_like(z)
        for node in shape.nodes:
            target = self.to_target(z + noise * node)
            total += target
            square += target**2
        mean = total / len(shape.nodes)
        return mean, np.maximum(square / len(shape.nodes) - mean**2, 0.0)


def choose_scale(coordinates: Array, y: Array, *, rows: int = 300) -> float:
    """The warp's scale under which ``y`` looks most like a smooth function plus even Gaussian noise.

    Compared is the marginal likelihood of y itself (Jacobian included) under a Gaussian process of fixed length
    scale, with its amplitude at the optimum and its noise ratio on a grid: one eigendecomposition serves all.

    Args:
        coordinates: (n, d), about unit variance.
        y: (n,).
        rows: At most so many rows are looked at, evenly spaced.
    """
    size = float(np.sqrt(np.mean(y**2)))
    if len(y) < 8 or np.ptp(y) <= 1e-12 * size:
        return float("inf")
    index = np.unique(np.linspace(0, len(y) - 1, min(len(y), rows)).astype(int))
    y = y[index]
    distance = cdist(coordinates[index], coordinates[index]) / 1.5
    kernel = (1 + np.sqrt(5) * distance + 5 / 3 * distance**2) * np.exp(-np.sqrt(5) * distance)
    eigenvalues, vectors = linalg.eigh(kernel)
    best, chosen = -np.inf, float("inf")
    for relative in _SCALES:
        scale = size * relative
        warp = Warp.fit(y, scale)
        projected = (vectors.T @ warp.to_latent(y)) ** 2
        for ratio in (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0):
            variances = np.maximum(eigenvalues, 0) + ratio
            amplitude = np.mean(projected / variances)
            value = -0.5 * (len(y) * np.log(amplitude) + np.log(variances).sum()) + np.log(warp.slope(y)).sum()
            if value > best:
                best, chosen = float(value), scale
    return chosen


@dataclass(frozen=True)
class WarpedPrediction(Prediction):
    """A prediction made on a warped scale: skewed, heavy-tailed or bimodal in the target's unit.

    Attributes:
        latent_mean: Posterior mean on the warped scale, (n,).
        latent_std: Total standard deviation of one fresh measurement on it, (n,).
        warp: The scale.
        shape: Shape of the standardised out-of-sample residuals on it.
    """

    latent_mean: Array
    latent_std: Array
    warp: Warp
    shape: Shape

    @classmethod
    def of(cls, mean: Array, std_epistemic: Array, std_noise: Array, warp: Warp, shape: Shape) -> Self:
        """From the latent mean, its standard deviation and that of the noise, all (n,).

        The target's mean is E[y(z + e)] over the posterior of z (Gauss–Hermite) and the noise e (its nodes); the
        epistemic part is the standard deviation of E[y | z] over z; the aleatoric part the root of E[Var(y | z)].
        """
        if np.isinf(warp.scale):
            target, epistemic, aleatoric = warp.to_target(mean), std_epistemic * warp.spread, std_noise * warp.spread
        else:
            z = mean + std_epistemic * _POSTERIOR_NODES[:, None]
            means, variances = warp.noisy_mean(z, np.broadcast_to(std_noise, z.shape), shape)
            target = _POSTERIOR_WEIGHTS @ means
            epistemic = np.sqrt(_POSTERIOR_WEIGHTS @ (means - target) ** 2)
            aleatoric = np.sqrt(_POSTERIOR_WEIGHTS @ variances)
        return cls(target, epistemic, aleatoric, mean, np.hypot(std_epistemic, std_noise), warp, shape)

    def quantile(self, q: float) -> Array:
        return self.warp.to_target(self.latent_mean + self.latent_std * self.shape.quantile(q))

    def cdf(self, y: ArrayLike) -> Array:
        return np.asarray(special.ndtr(self._score(y)[0]))

    def log_density(self, y: ArrayLike) -> Array:
        t, slope, std = self._score(y)
        return np.asarray(-0.5 * t**2 - 0.5 * np.log(2 * np.pi) + np.log(slope / std) + np.log(self.warp.slope(y)))

    def _score(self, y: ArrayLike) -> tuple[Array, Array, Array]:
        std = np.maximum(self.latent_std, 1e-12)
        t, slope = self.shape.normal_score((self.warp.to_latent(y) - self.latent_mean) / std)
        return t, slope, std
