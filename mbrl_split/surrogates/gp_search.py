"""Hyper-parameters of a Gaussian process, by the library of one's choice.

All search the same model for centred latent targets: Matérn-5/2 with a length scale per coordinate, a linear trend,
even noise on top of the known variances. They return (amplitude², trend², d length scales, noise variance).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from mbrl_split.errors import BadInput
from mbrl_split.surrogates.prediction import Array


def by_scikit_learn(c: Array, z: Array, known: Array, *, restarts: int, seed: int) -> Array:
    """The greatest marginal likelihood within wide bounds.

    Args:
        c: Coordinates of about unit variance, (n, d).
        z: Latent targets, (n,).
        known: Known noise variances, (n,).
        restarts: Random restarts.
        seed: Of the restarts.
    """
    d = c.shape[1]
    kernel = (
        ConstantKernel(1.0, (1e-4, 1e2)) * Matern(np.full(d, 1.5), (0.15, 20.0), nu=2.5)
        + ConstantKernel(0.1, (1e-6, 1e1)) * DotProduct(1.0, "fixed")
        + WhiteKernel(0.1, (1e-7, 1e1))
    )
    model = GaussianProcessRegressor(kernel, alpha=known + 1e-9, n_restarts_optimizer=restarts, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hyper-parameter at its bound is an answer
        fitted = model.fit(c, z).kernel_
    smooth, trend, white = fitted.k1.k1, fitted.k1.k2, fitted.k2
    scales = np.broadcast_to(smooth.k2.length_scale, d)
    return np.array([smooth.k1.constant_value, trend.k1.constant_value, *scales, white.noise_level])


def by_botorch(c: Array, z: Array, known: Array, *, seed: int) -> Array:
    """The most probable ones under BoTorch's prior, which expects longer length scales the more coordinates there are.

    Args:
        c: Coordinates of about unit variance, (n, d).
        z: Latent targets, (n,).
        known: Known noise variances, (n,).
        seed: Of the new starts that BoTorch makes when a search fails.

    Raises:
        BadInput: BoTorch is not installed.
    """
    try:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
    except ImportError:
        raise BadInput("library='botorch' needs BoTorch: pip install 'mbrl-split[botorch]'") from None
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
