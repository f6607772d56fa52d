"""How good a predictive distribution is, judged on fresh targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.prediction import Array, Prediction, floored

LEVELS = np.arange(0.1, 0.95, 0.1)
"""Nominal coverages over which the calibration error is averaged."""


def score(prediction: Prediction, y: ArrayLike) -> dict[str, float]:
    """Judge ``prediction`` by the fresh targets ``y`` (n,), in the target's unit.

    Returns:
        ``rmse`` of the mean; ``nll``, mean negative log density; ``crps``, mean continuous ranked probability score;
        ``coverage_90``, the share of targets inside the central 90 % interval; ``calibration_error``, the mean
        absolute gap between nominal and found coverage at :data:`LEVELS`; ``sharpness``, the mean predicted standard
        deviation (smaller is sharper; compare it only at equal calibration).

    Raises:
        InvalidInputError: ``y`` has another length, is empty or not finite.
    """
    target = np.asarray(y, dtype=np.float64)
    if target.shape != prediction.mean.shape or target.size == 0 or not np.isfinite(target).all():
        raise InvalidInputError(f"targets to score are {prediction.mean.shape} finite numbers, not {target.shape}")
    # The distance of a target's probability from the middle tells which central intervals hold it.
    reach = 2 * np.abs(prediction.cdf(target) - 0.5)
    found = np.array([(reach <= level).mean() for level in LEVELS])
    low, high = prediction.interval(0.9)
    return {
        "rmse": float(np.sqrt(np.mean((target - prediction.mean) ** 2))),
        "nll": float(-np.mean(prediction.log_density(target))),
        "crps": float(np.mean(crps(prediction, target))),
        "coverage_90": float(np.mean((low <= target) & (target <= high))),
        "calibration_error": float(np.mean(np.abs(found - LEVELS))),
        "sharpness": float(np.mean(prediction.std)),
    }


def crps(prediction: Prediction, y: Array) -> Array:
    """Continuous ranked probability score of each row (n,), in the target's unit; smaller is better."""
    if type(prediction) is Prediction:
        return gaussian_crps(prediction.mean, prediction.std, y)
    return quantile_crps(prediction, y)


def gaussian_crps(mean: Array, std: Array, y: Array) -> Array:
    """CRPS of normal distributions: σ·(z·(2Φ(z) − 1) + 2φ(z) − 1/√π) with z = (y − μ)/σ (Gneiting & Raftery 2007)."""
    std = floored(std, mean)
    z = (y - mean) / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(std * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)))


def quantile_crps(prediction: Prediction, y: Array, levels: int = 200) -> Array:
    """CRPS as twice the pinball loss averaged over ``levels`` equally spaced quantiles: any distribution."""
    total = np.zeros_like(y)
    for q in (np.arange(levels) + 0.5) / levels:
        gap = y - prediction.quantile(float(q))
        total += np.maximum(q * gap, (q - 1) * gap)
    return np.asarray(2 * total / levels)
