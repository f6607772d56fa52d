"""The marginal likelihood of a Gaussian process, its gradient and its greatest value, against scikit-learn's."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from mbrl_split.surrogates import GPSurrogate
from mbrl_split.surrogates.gp_search import JITTER, by_scipy, log_likelihood

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "performance" / "surrogates.py"
_spec = importlib.util.spec_from_file_location("benchmark_surrogates", _SCRIPT)
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)


def rows(n=60, d=2):
    rng = np.random.default_rng(3)
    c = rng.standard_normal((n, d))
    known = rng.uniform(0, 0.2, n)
    z = np.sin(2 * c[:, 0]) + 0.3 * c[:, -1] + np.sqrt(known + 0.05) * rng.standard_normal(n)
    return c, z - z.mean(), known


def test_the_likelihood_is_that_of_scikit_learn():
    c, z, known = rows()
    for theta in np.random.default_rng(0).uniform(-2, 1, (5, 5)):
        amplitude, trend, *scales, noise = np.exp(theta)
        kernel = (
            ConstantKernel(amplitude) * Matern(scales, nu=2.5)
            + ConstantKernel(trend) * DotProduct(1.0, "fixed")
            + WhiteKernel(noise)
        )
        reference = GaussianProcessRegressor(kernel, alpha=known + JITTER, optimizer=None).fit(c, z)
        value, _ = log_likelihood(theta, c, z, known)
        np.testing.assert_allclose(value, reference.log_marginal_likelihood_value_, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 3])
def test_its_gradient_is_that_of_finite_differences(d):
    c, z, known = rows(d=d)
    theta = np.random.default_rng(1).uniform(-1, 1, d + 3)
    _, gradient = log_likelihood(theta, c, z, known)
    numeric = approx_fprime(theta, lambda t: log_likelihood(t, c, z, known)[0], 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


def test_both_searches_end_at_the_same_hyper_parameters():
    c, z, known = rows()
    ours, theirs = by_scipy(c, z, known, restarts=0, seed=0), peer.by_scikit_learn(c, z, known)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    again = by_scipy(c, z, known, restarts=3, seed=0)
    assert log_likelihood(np.log(again), c, z, known)[0] >= log_likelihood(np.log(ours), c, z, known)[0] - 1e-6


def test_a_covariance_that_has_no_factor_is_no_candidate():
    c, z, _ = rows()
    value, gradient = log_likelihood(np.log([1.0, 0.1, 1.0, 1.0, 0.1]), c, z, np.full(len(z), -5.0))
    assert value == -np.inf
    assert not gradient.any()


def test_who_searches_changes_nothing_but_time():
    c, z, _ = rows()
    ours, theirs = (kind().fit(c, z).predict(c).mean for kind in (GPSurrogate, peer.ScikitLearnGP))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
