"""The Gaussian process's own algebra: joint draws, and the update against a fit by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.surrogates import GPSurrogate
from mbrl_split.surrogates.gp import _root


@pytest.fixture(scope="module")
def fitted() -> GPSurrogate:
    X = np.random.default_rng(0).random((40, 2))
    return GPSurrogate(warp="none").fit(X, np.sin(3 * X[:, 0]) + X[:, 1])


def test_draws_have_the_posterior_covariance(fitted: GPSurrogate) -> None:
    """The covariance of many draws, against K − Kₓᵀ (K + noise)⁻¹ Kₓ by a plain inverse."""
    X = np.random.default_rng(1).random((6, 2))
    c = fitted._scaler(X)
    cross = fitted._kernel(fitted._c, c)
    rows = fitted._factor @ fitted._factor.T
    expected = fitted._kernel(c, c) - cross.T @ np.linalg.inv(rows) @ cross
    draws = fitted._draw(c, 200_000, np.random.default_rng(2))
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.02 * expected.max())


def test_draws_of_a_repeated_row_are_equal(fitted: GPSurrogate) -> None:
    X = np.repeat([[0.3, 0.4], [0.9, 0.1]], 3, axis=0)
    draws = fitted.sample(X, 500, np.random.default_rng(3))
    assert draws.std(axis=0).min() > 0
    # The jitter: a hundred-thousandth of the prior's deviation.
    np.testing.assert_allclose(draws[:, :3], np.repeat(draws[:, :1], 3, axis=1), atol=1e-3)


@pytest.mark.parametrize("least", [0.5, 0.0, -1e-12, -1e-6], ids=["regular", "singular", "rounded", "indefinite"])
def test_a_root_of_any_covariance(least: float) -> None:
    rng = np.random.default_rng(4)
    vectors = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    values = np.append(rng.random(29), least)
    covariance = (vectors * values) @ vectors.T
    root = _root((covariance + covariance.T) / 2, 1.0)
    wanted = (vectors * np.maximum(values, 0)) @ vectors.T
    np.testing.assert_allclose(root @ root.T, wanted, atol=2e-8)
