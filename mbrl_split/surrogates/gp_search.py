"""Hyper-parameters of a Gaussian process, by SciPy or by BoTorch.

Both search the same model for centred latent targets: Matérn-5/2 with a length scale per coordinate, a linear trend,
even noise on top of the known variances. They return (amplitude², trend², d length scales, noise variance).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy import linalg, optimize
from scipy.spatial.distance import cdist

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.prediction import Array

START = {"amplitude": 1.0, "trend": 0.1, "scale": 1.5, "noise": 0.1}
BOUNDS = {"amplitude": (1e-4, 1e2), "trend": (1e-6, 1e1), "scale": (0.15, 20.0), "noise": (1e-7, 1e1)}
JITTER = 1e-9


def by_scipy(c: Array, z: Array, known: Array, *, restarts: int, seed: int) -> Array:
    """The greatest marginal likelihood within wide bounds, by its closed-form gradient.

    What scikit-learn finds, without its array of n·n derivatives for each hyper-parameter, and therefore several times
    as fast (``benchmarks/performance/surrogates.py``).

    Args:
        c: Coordinates of about unit variance, (n, d).
        z: Latent targets, (n,).
        known: Known noise variances, (n,).
        restarts: Random restarts.
        seed: Of the restarts.
    """
    names = ["amplitude", "trend", *["scale"] * c.shape[1], "noise"]
    low, high = np.log([BOUNDS[name] for name in names]).T
    starts = [
        np.log([START[name] for name in names]),
        *np.random.default_rng(seed).uniform(low, high, (restarts, len(low))),
    ]
    found = [
        optimize.minimize(
            lambda theta: tuple(-part for part in log_likelihood(theta, c, z, known)),
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
        )
        for start in starts
    ]
    return np.asarray(np.exp(min(found, key=lambda f: float(f.fun)).x))


def log_likelihood(theta: Array, c: Array, z: Array, known: Array) -> tuple[float, Array]:
    """Log marginal likelihood and its gradient (Rasmussen & Williams 2006, equations 2.30 and 5.9).

    With K the covariance and α = K⁻¹z, ∂L/∂θ = ½ Σ (ααᵀ − K⁻¹) ∘ ∂K/∂θ. For a length scale, ∂K/∂log ℓ is
    G_ik (u_i − u_k)² with u = x/ℓ, so that two products with G stand for an array of n·n differences.

    Args:
        theta: Logarithms of (amplitude², trend², d length scales, noise variance).
        c: Coordinates, (n, d).
        z: Targets, (n,).
        known: Known noise variances, (n,).
    """
    amplitude, trend, noise = np.exp(theta[0]), np.exp(theta[1]), np.exp(theta[-1])
    u = c / np.exp(theta[2:-1])
    r = np.sqrt(5.0) * cdist(u, u)
    decay = np.exp(-r)
    smooth = amplitude * (1 + r + r**2 / 3) * decay
    linear = trend * (1 + c @ c.T)
    covariance = smooth + linear
    covariance[np.diag_indices_from(covariance)] += known + noise + JITTER
    factor, failed = linalg.lapack.dpotrf(covariance, lower=1)
    if failed:
        return -np.inf, np.zeros_like(theta)
    half, _ = linalg.lapack.dpotri(factor, lower=1)
    inverse = np.tril(half) + np.tril(half, -1).T
    alpha = inverse @ z
    likelihood = -0.5 * z @ alpha - np.log(np.diag(factor)).sum() - 0.5 * len(z) * np.log(2 * np.pi)
    pull = np.outer(alpha, alpha) - inverse
    slope = pull * (amplitude * 5 / 3 * (1 + r) * decay)
    scales = 2 * (slope.sum(axis=1) @ u**2) - 2 * np.einsum("ij,ij->j", u, slope @ u)
    gradient = np.concatenate([[np.vdot(pull, smooth), np.vdot(pull, linear)], scales, [noise * np.trace(pull)]])
    return float(likelihood), 0.5 * gradient


def by_botorch(c: Array, z: Array, known: Array, *, seed: int) -> Array:
    """The most probable ones under BoTorch's prior, which expects longer length scales the more coordinates there are.

    Args:
        c: Coordinates of about unit variance, (n, d).
        z: Latent targets, (n,).
        known: Known noise variances, (n,).
        seed: Of the new starts that BoTorch makes when a search fails.

    Raises:
        InvalidInputError: BoTorch is not installed.
    """
    try:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
    except ImportError:
        raise InvalidInputError("library='botorch' needs BoTorch: pip install 'mbrl-split[botorch]'") from None
    from gpytorch.constraints import GreaterThan
    from gpytorch.kernels import MaternKernel, PolynomialKernel, ScaleKernel
    from gpytorch.likelihoods import FixedNoiseGaussianLikelihood
    from gpytorch.means import ZeroMean
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.priors import LogNormalPrior

    d = c.shape[1]
    # Hvarfner et al. 2024, for the unit cube; coordinates of unit variance spread √12 times as wide.
    prior = LogNormalPrior(np.sqrt(2) + 0.5 * np.log(d) + 0.5 * np.log(12), np.sqrt(3))
    smooth = ScaleKernel(MaternKernel(2.5, ard_num_dims=d, lengthscale_prior=prior))
    trend = ScaleKernel(PolynomialKernel(1, offset_constraint=GreaterThan(0.0)))
    trend.base_kernel.offset = 1.0
    trend.base_kernel.raw_offset.requires_grad_(False)
    x, y = torch.from_numpy(c), torch.from_numpy(z)[:, None]
    # GPyTorch wants no known variance below 1e-6.
    fixed = torch.from_numpy(np.maximum(known, 1e-6))
    likelihood: Any = FixedNoiseGaussianLikelihood(fixed, learn_additional_noise=True)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # float64 and unit-cube advice, meant for the targets' and inputs' own units
        torch.manual_seed(seed)
        model = SingleTaskGP(
            x,
            y,
            likelihood=likelihood,
            covar_module=(smooth + trend).double(),
            mean_module=ZeroMean(),
            outcome_transform=None,
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood.double(), model))
    scales = smooth.base_kernel.lengthscale.detach().numpy().ravel()
    return np.array(
        [smooth.outputscale.item(), trend.outputscale.item(), *scales, likelihood.second_noise.item()],
        dtype=np.float64,
    )
