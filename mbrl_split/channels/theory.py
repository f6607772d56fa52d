"""Closed forms of the radio link: outage, capacity, error rates.

All SNRs are averages at the receiver; instantaneous SNR is γ = h²·γ̄. Formulas: M. K. Simon and M.-S. Alouini,
*Digital Communication over Fading Channels*, 2nd ed., 2005.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, special

from mbrl_split.channels.fading import Fading
from mbrl_split.errors import InvalidInputError

Array = NDArray[np.float64]


def from_db(db: ArrayLike) -> Array:
    """A power ratio from decibels: 10^(db/10)."""
    return np.asarray(10.0 ** (np.asarray(db, dtype=np.float64) / 10))


def noise_std(power: ArrayLike, snr_db: ArrayLike) -> Array:
    """Standard deviation of the noise per *real* element at a given Es/N0.

    A complex symbol carries two real elements, Es = 2·``power``; N0 is the variance of the complex noise, N0/2 per
    real dimension: hence the variance per real element is power·10^(−snr_db/10).

    Args:
        power: Mean square of a real element.
        snr_db: Es/N0 in dB.
    """
    return np.asarray(np.sqrt(np.asarray(power) / from_db(snr_db)))


def outage_probability(snr_db: ArrayLike, threshold_db: ArrayLike = 0.0, fading: Fading | None = None) -> Array:
    """P(h²·γ̄ < γ_th): the chance that a fading block cannot be decoded.

    For Nakagami-m fading of mean power 1 this is P(m, m·γ_th/γ̄), the regularised lower incomplete gamma function; at
    high SNR it falls by m decades per 10 dB. Without fading it is 0 or 1.

    Args:
        snr_db: γ̄ in dB, any shape.
        threshold_db: γ_th in dB, any shape that broadcasts.
        fading: Law of |h|, or None.
    """
    ratio = from_db(np.asarray(threshold_db, dtype=np.float64) - np.asarray(snr_db, dtype=np.float64))
    if fading is None:
        return np.asarray(ratio > 1, dtype=np.float64)
    return fading.cdf(np.sqrt(ratio))


def ergodic_capacity(snr_db: float, fading: Fading | None = None) -> float:
    """E[log2(1 + h²·γ̄)] in bit/s/Hz, by integration of the survival function of γ.

    Args:
        snr_db: γ̄ in dB.
        fading: Law of |h|, or None for the capacity log2(1 + γ̄).
    """
    snr = float(from_db(snr_db))
    if fading is None:
        return float(np.log2(1 + snr))

    def integrand(log_gamma: float) -> float:
        gamma = np.exp(log_gamma)
        return float((1 - fading.cdf(np.sqrt(gamma / snr))) * gamma / (1 + gamma))

    centre = np.log(snr * fading.omega)
    # Below, the integrand falls like γ; above, faster than any power of γ.
    nats = sum(
        integrate.quad(integrand, low, high, limit=200)[0]
        for low, high in ((centre - 60, centre - 5), (centre - 5, centre), (centre, centre + 5))
    )
    return float(nats / np.log(2))


def bpsk_bit_error_rate(snr_db: float, fading: Fading | None = None) -> float:
    """Bit error rate of coherent BPSK at an average Eb/N0 of γ̄ = ``snr_db``, E[Q(√(2·h²·γ̄))].

    By Craig's form of Q it is (1/π)·∫₀^{π/2} E[exp(−h²·γ̄/sin²θ)] dθ.

    Args:
        snr_db: Average Eb/N0 in dB. A stream of ±1 sent with ``Radio(snr_db=…)`` is two bits per complex symbol, so
            its Eb/N0 lies 3.01 dB below its Es/N0.
        fading: Law of |h|, or None.
    """
    snr = float(from_db(snr_db))
    if fading is None:
        return float(special.ndtr(-np.sqrt(2 * snr)))

    def integrand(theta: float) -> float:
        return float(fading.laplace(snr / np.sin(theta) ** 2))

    return float(integrate.quad(integrand, 0, np.pi / 2)[0] / np.pi)


def packet_error_rate(bit_error_rate: ArrayLike, bits: ArrayLike) -> Array:
    """Probability that an uncoded packet of independent bits has an error: 1 − (1 − BER)^bits.

    Raises:
        InvalidInputError: A rate outside [0, 1] or a negative number of bits.
    """
    rate, n = np.asarray(bit_error_rate, dtype=np.float64), np.asarray(bits, dtype=np.float64)
    if not ((rate >= 0) & (rate <= 1)).all() or not (n >= 0).all():
        raise InvalidInputError("a packet error rate needs bit error rates in [0, 1] and numbers of bits of at least 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(n == 0, 0.0, -np.expm1(n * np.log1p(-rate))))


def nakagami_m_of_rice(k: float) -> float:
    """The Nakagami shape whose h² has the variance of a Rice law of factor K: m = (K+1)²/(2K+1).

    It matches the variance and **not the tail**: at K = 3, P(h² < .01) is 2.07e-3 under Rice fading and 6.6e-5 under
    the mapped Nakagami law. Never take an outage from it.

    Raises:
        InvalidInputError: K < 0 or not finite.
    """
    if not (np.isfinite(k) and k >= 0):
        raise InvalidInputError(f"a Rice factor K is finite and at least 0, not {k}")
    return (k + 1) ** 2 / (2 * k + 1)
