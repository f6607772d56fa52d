"""Exact integration over the fading law: how often each gain h occurs, and what a curve is worth on average.

A *law* gives the partial moments of the gain that a piecewise-linear function needs, so its expectation is exact and no
quadrature near h = 0 is needed (where the density of a Nakagami gain with m < 1 is not smooth). Every law has
E[h²] = Ω. Integrals use h² ~ Gamma(m, Ω/m) (Nakagami) and its Poisson mixture (Rice), both textbook.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mbrl_split.errors import InvalidInputError

Floats = NDArray[np.float64]


class FadingLaw(ABC):
    """The distribution of the gain h ≥ 0. Arguments broadcast against the law's own parameters."""

    @abstractmethod
    def below(self, h: ArrayLike) -> Floats:
        """P(H < h)."""

    @abstractmethod
    def mean_below(self, h: ArrayLike) -> Floats:
        """E[H; H < h], the mean restricted to gains under ``h``."""

    @abstractmethod
    def square_ratio_above(self, h: ArrayLike) -> Floats:
        """E[(h/H)²; H > h], a number in [0, 1]: what is left above ``h`` of something that falls as 1/H²."""

    @abstractmethod
    def quantile(self, u: ArrayLike) -> Floats:
        """The gain with P(H < gain) = ``u``."""


@dataclass(frozen=True)
class NoFading(FadingLaw):
    """The gain is always the same.

    Args:
        gain: Which it is, at least 0. A scalar or an array.
    """

    gain: float | Floats = 1.0

    def below(self, h: ArrayLike) -> Floats:
        return (np.asarray(h) > self.gain).astype(np.float64)

    def mean_below(self, h: ArrayLike) -> Floats:
        return np.asarray(self.gain * self.below(h))

    def square_ratio_above(self, h: ArrayLike) -> Floats:
        h = np.asarray(h, dtype=np.float64)
        gain = np.asarray(self.gain)
        return np.where(h > gain, 0.0, (h / np.where(gain > 0, gain, np.inf)) ** 2)

    def quantile(self, u: ArrayLike) -> Floats:
        return np.ones_like(np.asarray(u, dtype=np.float64)) * self.gain


@dataclass(frozen=True)
class NakagamiFading(FadingLaw):
    """h² ~ Gamma(shape m, scale Ω/m).

    Args:
        m: Fading shape, at least 0.5; m = 1 is Rayleigh. A scalar or an array.
        omega: Mean power E[h²].

    Raises:
        InvalidInputError: ``m`` < 0.5 or ``omega`` ≤ 0.
    """

    m: float | Floats
    omega: float | Floats = 1.0

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.m) >= 0.5):
            raise InvalidInputError(f"a Nakagami shape m is at least 0.5, not {np.min(self.m):g}")
        if not np.all(np.asarray(self.omega) > 0):
            raise InvalidInputError(f"a mean power omega is positive, not {np.min(self.omega):g}")

    def below(self, h: ArrayLike) -> Floats:
        return np.asarray(special.gammainc(self.m, self._x(h)))

    def mean_below(self, h: ArrayLike) -> Floats:
        # ∫ h f(h) dh is again an incomplete gamma function, of shape m + ½.
        m = np.asarray(self.m)
        total = np.sqrt(self.omega / m) * np.exp(special.gammaln(m + 0.5) - special.gammaln(m))
        return np.asarray(total * special.gammainc(m + 0.5, self._x(h)))

    def square_ratio_above(self, h: ArrayLike) -> Floats:
        x, m = np.broadcast_arrays(self._x(h), self.m)
        # x·Γ(m−1, x)/Γ(m) has a removable singularity at m = 1: bridge it linearly, an error below 1e-9.
        eps = 1e-5
        near = np.abs(m - 1) < eps
        if not near.any():
            return _upper_ratio(m, x)
        low, high = _upper_ratio(np.where(near, 1 - eps, m), x), _upper_ratio(np.where(near, 1 + eps, m), x)
        return np.where(near, low + (high - low) * (m - 1 + eps) / (2 * eps), low)

    def quantile(self, u: ArrayLike) -> Floats:
        return np.asarray(np.sqrt(special.gammaincinv(self.m, u) * (self.omega / np.asarray(self.m))))

    def _x(self, h: ArrayLike) -> Floats:
        return np.asarray(np.asarray(h, dtype=np.float64) ** 2 * (np.asarray(self.m) / self.omega))


@dataclass(frozen=True)
class RiceFading(FadingLaw):
    """A line of sight with K times the scattered power: a Poisson(K) mixture of Gamma(1 + j) powers.

    The mixture is cut where less than 1e-14 of its probability is left, so partial moments are exact to rounding.

    Args:
        k: Power of the line of sight over the scattered power, at least 0; k = 0 is Rayleigh. A scalar or an array.
        omega: Mean power E[h²].
    """

    k: float | Floats
    omega: float = 1.0

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.k) >= 0):
            raise InvalidInputError(f"a Rice factor k is at least 0, not {np.min(self.k):g}")
        if not self.omega > 0:
            raise InvalidInputError(f"a mean power omega is positive, not {self.omega:g}")

    def below(self, h: ArrayLike) -> Floats:
        return self._mix("below", h)

    def mean_below(self, h: ArrayLike) -> Floats:
        return self._mix("mean_below", h)

    def square_ratio_above(self, h: ArrayLike) -> Floats:
        return self._mix("square_ratio_above", h)

    def quantile(self, u: ArrayLike) -> Floats:
        # The noncentral inverse does not take a noncentrality of exactly 0; 1e-12 moves nothing.
        k = np.maximum(self.k, 1e-12)
        return np.asarray(np.sqrt(special.chndtrix(u, 2, 2 * k) * (self.omega / (2 * (k + 1)))))

    def _mix(self, moment: str, h: ArrayLike) -> Floats:
        k, x = np.asarray(self.k, dtype=np.float64), np.asarray(h, dtype=np.float64)
        total = np.zeros(np.broadcast_shapes(k.shape, x.shape))
        largest = float(k.max(initial=0.0))
        for j in range(int(special.pdtrik(1 - 1e-15, largest)) + 2 if largest else 1):
            weight = np.exp(special.xlogy(j, k) - k - special.gammaln(j + 1))
            part = NakagamiFading(1.0 + j, self.omega * (1 + j) / (1 + k))
            total += weight * getattr(part, moment)(x)
        return total


def _upper_ratio(m: Floats, x: Floats) -> Floats:
    # x·Γ(m−1, x)/Γ(m), m ≠ 1, by the recurrence Γ(m, x) = (m−1)·Γ(m−1, x) + x^(m−1)·e^(−x); it holds for m < 1 too.
    log_term = special.xlogy(m, x) - x - special.gammaln(m)
    return np.asarray((x * special.gammaincc(m, x) - np.exp(log_term)) / (m - 1))


def hat_weights(law: FadingLaw, knots: Floats) -> Floats:
    """Expectation of a function that is piecewise linear in h, as weights of its values at the knots.

    Args:
        law: The fading law; its parameters broadcast against ``knots``.
        knots: Ascending gains, shape (n, K), one grid per row (or (1, K)).

    Returns:
        Weights, shape (n, K): E[f(H); knots[0] < H < knots[-1]] = Σ weights·f(knots), exactly.
    """
    p, mean = np.diff(law.below(knots)), np.diff(law.mean_below(knots))
    left, width = knots[:, :-1], np.diff(knots)
    with np.errstate(invalid="ignore", divide="ignore"):
        up = np.where(width > 0, np.clip((mean - left * p) / width, 0, p), 0.0)
    weights = np.zeros((p.shape[0], p.shape[1] + 1))
    weights[:, 1:] += up
    weights[:, :-1] += p - up
    return weights


def ratio_weights(law: FadingLaw, noise: ArrayLike, ratios: Floats) -> Floats:
    """Expectation over h of a curve D(noise/h), as weights of its values at 0, the ``ratios``, and ∞.

    The curve is linear in h = noise/s between the knots and out to s = ∞ (h = 0), and quadratic in s below the first:
    damage starts with the noise's variance, and a term linear in the noise averages out.

    Args:
        law: The fading law; its parameters have shape (n, 1) or are scalars.
        noise: Noise at the transmitter, shape (n,), in the unit of ``ratios``, at least 0.
        ratios: Positive finite knots s, ascending, shape (K,).

    Returns:
        Weights, shape (n, K + 2), for s = 0, ratios[0] … ratios[-1], ∞; each row sums to 1.
    """
    sigma = np.asarray(noise, dtype=np.float64)[:, None]
    knots = np.concatenate([np.zeros_like(sigma), sigma / ratios[::-1]], axis=1)
    inner = hat_weights(law, knots)[:, ::-1]
    first = knots[:, -1:]
    tail = 1 - law.below(first)
    kept = np.clip(law.square_ratio_above(first), 0, tail)
    weights = np.concatenate([tail - kept, inner], axis=1)
    weights[:, 1:2] += kept
    return weights


def gain_weights(law: FadingLaw, gains: Floats) -> Floats:
    """Expectation of a curve D(h) known at fixed gains, as weights; shape (n, K), each row sums to 1.

    The curve is linear between the knots and constant beyond the last (choose it so that P(h > last) < 1e-3).

    Args:
        law: The fading law, with parameters of shape (n, 1) or scalars.
        gains: Ascending knots, ``gains[0]`` = 0, shape (K,).
    """
    rows = max(np.size(getattr(law, name, 1.0)) for name in ("m", "k", "gain"))
    knots = np.broadcast_to(gains, (rows, len(gains)))
    weights = hat_weights(law, knots)
    weights[:, -1] += 1 - law.below(knots[:, -1:])[:, 0]
    return weights
