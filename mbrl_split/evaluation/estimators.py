"""Five estimators over runs of shape (seeds, scenarios), after Agarwal et al. 2021.

*Deep reinforcement learning at the edge of the statistical precipice* (NeurIPS 2021). A score may be a return (higher
is better) or a regret (lower is better): what depends on the direction says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError

Array = NDArray[np.float64]


def as_scores(scores: ArrayLike) -> Array:
    """Scores as float64 of shape (seeds, scenarios); one dimension means one scenario.

    Raises:
        InvalidInputError: Nothing in it, more than two dimensions, or a nan (an infinite score is allowed).
    """
    x = np.asarray(scores, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.size == 0:
        raise InvalidInputError(f"scores have shape (seeds, scenarios), not {np.shape(scores)}")
    if np.isnan(x).any():
        raise InvalidInputError("a score is nan: leave a failed run out, or give it the worst score, but say which")
    return x


def mean(scores: ArrayLike) -> float:
    """The mean over all runs."""
    return float(as_scores(scores).mean())


def median(scores: ArrayLike) -> float:
    """The median over scenarios of each scenario's mean over seeds."""
    return float(np.median(as_scores(scores).mean(axis=0)))


def iqm(scores: ArrayLike) -> float:
    """The interquartile mean: the mean of all runs without the lowest and the highest quarter (⌊n/4⌋ runs each).

    It hides a quarter of collapsed seeds: give the mean and the worst seed beside it.
    """
    x = np.sort(as_scores(scores), axis=None)
    cut = len(x) // 4
    return float(x[cut : len(x) - cut].mean())


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> float:
    """How far runs fall below ``target`` on average (higher is better); none above it makes up for another."""
    return float(np.maximum(target - as_scores(scores), 0).mean())


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """The share of runs above each threshold, scenarios weighted equally, shape (len(thresholds),)."""
    x = as_scores(scores)
    above = x[:, :, None] > np.asarray(thresholds, dtype=np.float64)
    return np.asarray(above.mean(axis=(0, 1)))


def probability_of_improvement(a: ArrayLike, b: ArrayLike) -> float:
    """P(a run of ``a`` scores higher than a run of ``b``), ties counted half, averaged over scenarios.

    The Mann–Whitney U statistic over (seeds of a)·(seeds of b).

    Raises:
        InvalidInputError: The scenarios differ in number.
    """
    x, y = as_scores(a), as_scores(b)
    if x.shape[1] != y.shape[1]:
        raise InvalidInputError(f"{x.shape[1]} scenarios cannot be compared with {y.shape[1]}")
    higher = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return float(higher.mean())
