"""A Gaussian process on a random design, and the argmax of its mean: what a user of scikit-learn would write first.

Matérn-5/2 with one length scale per coordinate, white noise, standardised targets, hyper-parameters by marginal
likelihood. ``rows="plain"`` learns one row per evaluation in (split, context); ``rows="records"`` one row per window in
(split, noise/gain) and averages over the fading, as ours do. No warp, no uneven noise, no choice of rows: that is what
the surrogates of the library add.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from mbrl_split.bench.base import Array
from mbrl_split.bench.regression import RegressionArgmax

HYPER_ROWS, MAX_ROWS = 500, 2000
"""Most rows for the hyper-parameters, and to condition on: the cost grows with their cube."""


@dataclass(frozen=True)
class GPArgmax(RegressionArgmax):
    """Argmax of a Gaussian process."""

    def fit(self, Z: Array, y: Array, groups: NDArray[np.int64], rng: np.random.Generator) -> GaussianProcessRegressor:
        some = rng.permutation(len(Z))[:MAX_ROWS]
        few = some[:HYPER_ROWS]
        kernel = ConstantKernel(1.0) * Matern(np.full(Z.shape[1], 0.5), (0.02, 20.0), nu=2.5) + WhiteKernel(0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a hyper-parameter at its bound is an answer
            model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(Z[few], y[few])
        if len(some) == len(few):
            return model
        return GaussianProcessRegressor(model.kernel_, optimizer=None, normalize_y=True).fit(Z[some], y[some])
