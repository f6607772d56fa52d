"""The noise level (or mean SNR) of a link with memory: a Gauss–Markov latent, any stationary law on a column's scale.

The latent z is a standard normal AR(1); the level is the column's value at the quantile of z. So the memory is one
number, the marginal is exact, and no value ever leaves the column's range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from mbrl_split.channels.doppler import shadowing_correlation
from mbrl_split.columns import Column
from mbrl_split.layer_split.sessions import ContextProcessSpec

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def correlation_of(spec: ContextProcessSpec) -> float:
    """The latent's correlation between turns: as given, or Gudmundson's from speed, time and distance."""
    if spec.correlation is not None:
        return spec.correlation
    return shadowing_correlation(spec.speed, spec.turn_seconds, spec.decorrelation)


def next_latent(z: ArrayLike, correlation: float, fresh: ArrayLike) -> Array:
    """One step of the AR(1): ρ·z + √(1 − ρ²)·fresh, which keeps a standard normal z standard normal."""
    return np.asarray(correlation * np.asarray(z) + np.sqrt(1 - correlation**2) * np.asarray(fresh))


def level_of(z: ArrayLike, column: Column, spec: ContextProcessSpec) -> Array:
    """The level of each latent, in the column's unit."""
    u = ndtr(np.asarray(z, dtype=np.float64))
    if spec.marginal == "normal":  # a normal law in ±spread, cut there
        tail = ndtr(-spec.spread)
        u = (ndtri(tail + u * (1 - 2 * tail)) / spec.spread + 1) / 2
    return column.from_unit(np.clip(u, 0.0, 1.0))


def latent_of(level: ArrayLike, column: Column, spec: ContextProcessSpec) -> Array:
    """The inverse of :func:`level_of`; the column's ends map to ±6, not to infinity."""
    u = np.clip(column.to_unit(level), 0.0, 1.0)
    if spec.marginal == "normal":
        tail = ndtr(-spec.spread)
        u = (ndtr((2 * u - 1) * spec.spread) - tail) / (1 - 2 * tail)
    return np.asarray(np.clip(ndtri(u), -6.0, 6.0))


def bin_edges(bins: int) -> Array:
    """Edges of equally probable bins of a standard normal latent, −∞ … ∞, shape (bins + 1,)."""
    return np.asarray(ndtri(np.linspace(0, 1, bins + 1)))


def transition_matrix(correlation: float, bins: int) -> Array:
    """P(next latent in bin j | this one in bin i) for equally probable bins, shape (bins, bins).

    The latent is taken as distributed within its bin as the stationary law has it, so that the matrix keeps the
    uniform distribution over bins.
    """
    edges = bin_edges(bins)
    inside = ndtri((np.arange(bins)[:, None] + (_NODES + 1) / 2) / bins)
    if correlation == 0:
        return np.full((bins, bins), 1 / bins)
    reach = ndtr((edges[:, None, None] - correlation * inside) / np.sqrt(1 - correlation**2))
    found = np.einsum("jik,k->ij", np.diff(reach, axis=0), _WEIGHTS / 2)
    return np.asarray(found / found.sum(axis=1, keepdims=True))
