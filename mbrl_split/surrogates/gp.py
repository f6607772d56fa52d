"""Gaussian process regression: the most a few hundred rows can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import cdist

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.gp_search import by_botorch, by_scipy
from mbrl_split.surrogates.noise import NoiseModel
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import hashed_uniform
from mbrl_split.surrogates.storage import take
from mbrl_split.surrogates.warped import Latent, OutOfFold, WarpedSurrogate

_CHUNK = 4096  # rows predicted at once, which bounds the memory of the cross-covariance


@dataclass(eq=False, kw_only=True)
class GPSurrogate(WarpedSurrogate):
    """A Gaussian process with a Matérn-5/2 kernel, one length scale per coordinate, a linear trend, and uneven noise.

    ``fit`` maximises the marginal likelihood with even noise (plus the known errors of the rows) on at most
    ``hyper_rows`` rows; learns from the leave-one-group-out residuals where the noise is large; and conditions on at
    most ``max_rows`` rows with that noise. The epistemic part is the posterior of the noise-free function. ``update``
    conditions again with all hyper-parameters and the noise kept: exact, and far cheaper than a fit.

    Costs grow with the cube of the rows: beyond ``max_rows`` a fixed subset of the groups is conditioned on; take the
    ensemble then.

    Args:
        hyper_rows: Most rows for the hyper-parameters.
        max_rows: Most rows to condition on.
        restarts: Random restarts of the search for the most likely hyper-parameters.
        library: Who searches the hyper-parameters: ``"scipy"`` the most likely ones, ``"botorch"`` (an extra) the most
            probable ones under its prior. All else is the same, and a saved surrogate loads without it.
        warp: See :class:`~mbrl_split.surrogates.warped.WarpedSurrogate`.
        seed: Of the restarts and the subsets.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> X = np.random.default_rng(0).random((60, 2))
        >>> surrogate = GPSurrogate().fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
        >>> bool(abs(surrogate.predict([[0.5, 0.5]]).mean[0] - 1.4975) < 0.01)
        True
    """

    hyper_rows: int = 1500
    max_rows: int = 3000
    restarts: int = 0
    library: Literal["scipy", "botorch"] = "scipy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.hyper_rows, self.max_rows) < 1 or self.restarts < 0:
            raise InvalidInputError("hyper_rows and max_rows are at least 1, restarts at least 0")
        if self.library not in ("scipy", "botorch"):
            raise InvalidInputError(f"library is 'scipy' or 'botorch', not {self.library!r}")
        self._hyper: Array  # amplitude², trend², d length scales, even noise variance
        self._row_noise: NoiseModel
        self._c: Array
        self._factor: Array  # lower Cholesky factor of the rows' covariance, noise included
        self._weights: Array  # inverse covariance times targets

    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        if not warm:
            rows = self._subset(groups, self.hyper_rows)
            self._hyper = self._search(c[rows], z[rows], known[rows])
        rows = self._subset(groups, self.max_rows)
        c, z, known, groups = c[rows], z[rows], known[rows], groups[rows]
        self._c, smooth = c, self._kernel(c, c)
        # Even noise first: its honest means tell where the noise is large. Then again with the uneven noise.
        even = float(self._hyper[-1])
        first = self._condition(smooth, z, known + even, groups)
        if not warm:
            # The known errors explain part of the residuals, as does the uncertainty of the mean.
            self._row_noise = NoiseModel.fit(c, first.mean, first.variance + known, z - first.mean, even)
        noise = self._row_noise.variance(c, first.mean, even)
        return rows, self._condition(smooth, z, known + noise, groups)

    def _subset(self, groups: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """At most ``most`` rows: whole groups in the order of a hash, so that a subset stays while rows are added."""
        if len(groups) <= most:
            return np.arange(len(groups))
        return np.sort(np.argsort(hashed_uniform(groups, self.seed), kind="stable")[:most])

    def _search(self, c: Array, z: Array, known: Array) -> Array:
        if self.library == "botorch":
            return by_botorch(c, z, known, seed=self.seed)
        return by_scipy(c, z, known, restarts=self.restarts, seed=self.seed)

    def _kernel(self, a: Array, b: Array) -> Array:
        """Prior covariance of the noise-free function, (len(a), len(b))."""
        scales = self._hyper[2:-1]
        r = np.sqrt(5.0) * cdist(a / scales, b / scales)
        return np.asarray(self._hyper[0] * (1 + r + r**2 / 3) * np.exp(-r) + self._hyper[1] * (1 + a @ b.T))

    def _condition(self, smooth: Array, z: Array, noise: Array, groups: NDArray[np.int64]) -> Latent:
        """Condition on rows with the covariance ``smooth``, and predict each from all rows but its group's.

        With P the inverse covariance, the prediction for a group G from the others is z_G − P_GG⁻¹ (P z)_G with
        covariance P_GG⁻¹, noise included (Rasmussen & Williams 2006, section 5.4.2, by blocks).
        """
        covariance = smooth.copy()
        covariance[np.diag_indices_from(covariance)] += noise + 1e-8 * (self._hyper[0] + self._hyper[1])
        factor = linalg.cholesky(covariance, lower=True, overwrite_a=True)
        # dpotri leaves what it was given above the diagonal: zeros.
        precision, _ = linalg.lapack.dpotri(factor, lower=1)
        precision = precision + precision.T
        precision[np.diag_indices_from(precision)] /= 2
        self._factor, self._weights = np.ascontiguousarray(factor), precision @ z
        alone = np.diag(precision)
        mean, variance = z - self._weights / alone, 1 / alone
        labels, sizes = np.unique(groups, return_counts=True)
        for label in labels[sizes > 1]:
            rows = np.flatnonzero(groups == label)
            block = linalg.inv(precision[np.ix_(rows, rows)])
            mean[rows] = z[rows] - block @ self._weights[rows]
            variance[rows] = np.diag(block)
        return Latent(mean, np.maximum(variance - noise, 0.0), float(self._hyper[-1]))

    def _latent(self, c: Array) -> Latent:
        mean, variance = np.empty(len(c)), np.empty(len(c))
        for start in range(0, len(c), _CHUNK):
            part = slice(start, start + _CHUNK)
            cross = self._kernel(self._c, c[part])
            mean[part] = cross.T @ self._weights
            explained = linalg.solve_triangular(self._factor, cross, lower=True, check_finite=False)
            prior = self._hyper[0] + self._hyper[1] * (1 + np.sum(c[part] ** 2, axis=1))
            variance[part] = np.maximum(prior - np.sum(explained**2, axis=0), 0.0)
        return Latent(mean, variance, float(self._hyper[-1]))

    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        cross = self._kernel(self._c, c)
        explained = linalg.solve_triangular(self._factor, cross, lower=True, check_finite=False)
        covariance = self._kernel(c, c) - explained.T @ explained
        root = _root(covariance, self._hyper[0] + self._hyper[1])
        return np.asarray(cross.T @ self._weights + rng.standard_normal((n, len(c))) @ root.T)

    def _state(self) -> dict[str, Any]:
        state = super()._state() | {"hyper": self._hyper, "row_noise": self._row_noise}
        return state | {"c": self._c, "factor": self._factor, "weights": self._weights}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._hyper, self._c = state["hyper"], state["c"]
        self._factor, self._weights = state["factor"], state["weights"]
        self._row_noise = take(state, "row_noise", NoiseModel)


def _root(covariance: Array, scale: float) -> Array:
    """R with R Rᵀ = ``covariance``, which rounding and repeated rows may have left without a Cholesky factor."""
    for jitter in (1e-10, 1e-8):
        steady = covariance + jitter * scale * np.eye(len(covariance))
        root, failed = linalg.lapack.dpotrf(steady, lower=1, clean=1, overwrite_a=1)
        if not failed:
            return np.asarray(root)
    eigenvalues, vectors = linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(eigenvalues, 0.0)))
