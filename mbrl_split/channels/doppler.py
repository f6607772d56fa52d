"""How fast a channel changes: correlations from speed, and the memory of fading with any Nakagami shape.

Closed forms in numpy. Jakes: W. C. Jakes, *Microwave Mobile Communications*, 1974; shadowing: M. Gudmundson,
*Correlation model for shadow fading in mobile radio systems*, Electronics Letters 27(23), 1991.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mbrl_split.errors import InvalidInputError

Array = NDArray[np.float64]

LIGHT = 299_792_458.0
"""Speed of light, m/s."""
LARGEST_DOPPLER = 0.38
"""f_D·T beyond which J0(2π·f_D·T) falls below 0: no first-order process has such a correlation."""

_TERMS = 80


def doppler_hz(speed: float, carrier_hz: float) -> float:
    """Largest Doppler shift v·f/c, Hz.

    Args:
        speed: v, m/s.
        carrier_hz: f, Hz.
    """
    return speed * carrier_hz / LIGHT


def jakes_correlation(doppler: float) -> float:
    """ρ = J0(2π·f_D·T), the correlation of the complex gain over a time T; |h|² then correlates as ρ².

    Args:
        doppler: f_D·T, at least 0.

    Raises:
        InvalidInputError: Negative, or beyond 0.38, where J0 is negative.
    """
    if not 0 <= doppler <= LARGEST_DOPPLER:
        raise InvalidInputError(
            f"f_D·T lies in [0, {LARGEST_DOPPLER}], not {doppler:.3g}: beyond, J0 is negative and the gain of one step "
            "says nothing about the next that a first-order process could hold; take shorter steps or independent gains"
        )
    return float(special.j0(2 * np.pi * doppler))


def shadowing_correlation(speed: float, seconds: float, decorrelation: float) -> float:
    """Gudmundson's exp(−v·T/d): the correlation of log-normal shadowing (in dB) over a time T.

    Args:
        speed: v, m/s.
        seconds: T, s.
        decorrelation: d, m.
    """
    return float(np.exp(-speed * seconds / decorrelation))


def gain_of_scatter(scatter: ArrayLike, m: float) -> Array:
    """The Nakagami-m amplitude |h| (mean power 1) of a complex Gaussian g, shape (…,).

    |g|² is exponential; its probability 1 − exp(−|g|²) is read off the Gamma law of h². At m = 1, |h| = |g|: exactly
    the Rayleigh gain of g.

    Args:
        scatter: Real and imaginary part of g with E|g|² = 1, shape (…, 2).
        m: Nakagami shape, at least ½.
    """
    power = np.square(np.asarray(scatter, dtype=np.float64)).sum(axis=-1)
    return np.asarray(np.sqrt(power if m == 1 else special.gammainccinv(m, np.exp(-power)) / m))


def power_correlation(m: float, r: ArrayLike) -> Array:
    """corr(h²) of :func:`gain_of_scatter` on two complex Gaussians of correlation r, the shape of ``r``.

    By the Hardy–Hille expansion it is Σ c_k²·r^{2k} / Σ c_k² over k ≥ 1, c_k the coefficient of the Laguerre
    polynomial L_k in the map from |g|² to h². At m = 1 only c_1 is there, and it is r².
    """
    c2, rest = _laguerre(float(m))
    r2 = np.square(np.asarray(r, dtype=np.float64))[..., None]
    k = np.arange(1, len(c2) + 1)
    # What the truncated terms hold of the variance decays at least as fast as the first of them.
    return np.asarray(((c2 * r2**k).sum(axis=-1) + rest * r2[..., 0] ** (len(c2) + 1)) / (c2.sum() + rest))


@lru_cache(maxsize=256)
def scatter_correlation(m: float, rho: float) -> float:
    """The correlation r of the complex Gaussians for which h² correlates as ρ²; at m = 1 it is ρ itself.

    Args:
        m: Nakagami shape, at least ½.
        rho: Correlation of the complex gain, from :func:`jakes_correlation`; 0 … 1.

    Raises:
        InvalidInputError: A shape below ½ or a correlation outside [0, 1].
    """
    if not m >= 0.5 or not 0 <= rho <= 1:
        raise InvalidInputError(
            f"memory of Nakagami fading needs m >= 0.5 and a correlation in [0, 1], not {m} and {rho}"
        )
    if m == 1 or rho in (0.0, 1.0):
        return float(rho)
    low, high = 0.0, 1.0
    for _ in range(60):  # monotone in r: halving is certain
        middle = (low + high) / 2
        if float(power_correlation(m, middle)) < rho * rho:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@lru_cache(maxsize=64)
def _laguerre(m: float) -> tuple[Array, float]:
    """c_k² for k = 1 … 80, and what the variance 1/m holds beyond them."""
    if m == 1:
        return np.array([1.0]), 0.0
    nodes, weights = np.polynomial.legendre.leggauss(1200)
    # x = s⁴ spreads the nodes where the map is steep (x^{1/m} near 0) and where e^{−x} ends.
    s, w = (nodes + 1) / 2 * 400.0**0.25, weights / 2 * 400.0**0.25
    x, w = s**4, w * 4 * s**3
    power = special.gammainccinv(m, np.exp(-x)) / m
    power = np.where(np.isfinite(power), power, 0.0)
    half = np.exp(-x / 2)  # Laguerre functions L_k·e^{−x/2} stay within 1
    before, now = half, (1 - x) * half
    found = []
    for k in range(1, _TERMS + 1):
        found.append(float(np.sum(w * now * power * half)) ** 2)
        before, now = now, ((2 * k + 1 - x) * now - k * before) / (k + 1)
    c2 = np.array(found)
    return c2, max(0.0, 1 / m - float(c2.sum()))
