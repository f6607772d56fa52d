"""Laws of the amplitude gain |h| under fading.

A gain is drawn by inverse CDF from one uniform: equal uniforms give gains that rise and fall together across laws and
shapes, so that two fading laws are compared on common random numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from mbrl_split.errors import InvalidInputError

Array = NDArray[np.float64]


class Fading(ABC):
    """The law of an amplitude gain |h| with mean power E[h²] = ``omega``."""

    omega: float

    @abstractmethod
    def ppf(self, u: ArrayLike) -> Array:
        """The gain at each probability ``u`` in [0, 1); increasing; the shape of ``u``."""

    @abstractmethod
    def cdf(self, h: ArrayLike) -> Array:
        """P(|h| ≤ h), the shape of ``h``."""

    @abstractmethod
    def laplace(self, s: ArrayLike) -> Array:
        """E[exp(−s·h²)] for s ≥ 0, the shape of ``s``; error rates are integrals of it."""


def _check_omega(omega: float) -> None:
    if not (isfinite(omega) and omega > 0):
        raise InvalidInputError(f"the mean power omega is positive and finite, not {omega}")


@dataclass(frozen=True)
class Nakagami(Fading):
    """Nakagami-m fading: h² ~ Gamma(shape m, scale Ω/m), so E[h²] = Ω and Var[h²] = Ω²/m.

    m = 1 is Rayleigh fading, m = ½ the one-sided Gaussian (the worst), m → ∞ no fading.

    Attributes:
        m: Shape, at least ½.
        omega: Mean power Ω.

    Raises:
        InvalidInputError: m < ½ or Ω ≤ 0, or either is not finite.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.channels import Nakagami
        >>> deep, shallow = Nakagami(m=1.0), Nakagami(m=8.0)
        >>> np.round([deep.cdf(0.3), shallow.cdf(0.3)], 4)
        array([0.0861, 0.    ])
    """

    m: float
    omega: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.m) and self.m >= 0.5):
            raise InvalidInputError(f"a Nakagami shape m is finite and at least 0.5, not {self.m}")
        _check_omega(self.omega)

    def ppf(self, u: ArrayLike) -> Array:
        return np.asarray(np.sqrt(special.gammaincinv(self.m, u) * (self.omega / self.m)))

    def cdf(self, h: ArrayLike) -> Array:
        return np.asarray(special.gammainc(self.m, np.square(h) * (self.m / self.omega)))

    def laplace(self, s: ArrayLike) -> Array:
        return np.asarray(np.exp(-self.m * np.log1p(np.multiply(s, self.omega / self.m))))


@dataclass(frozen=True)
class Rayleigh(Nakagami):
    """Rayleigh fading: |h| of a circular complex Gaussian h (not of a real one, which would be Nakagami m = ½).

    Attributes:
        omega: Mean power Ω.

    Example:
        >>> from mbrl_split.channels import Rayleigh
        >>> round(float(Rayleigh().cdf(1.0)), 4)  # 1 - exp(-1)
        0.6321
    """

    m: float = field(default=1.0, init=False, repr=False)


@dataclass(frozen=True)
class Rice(Fading):
    """Rice fading: a constant path of power K/(K+1)·Ω plus a circular complex Gaussian of power Ω/(K+1).

    2(K+1)·h²/Ω is noncentral chi-squared with two degrees of freedom and noncentrality 2K. K = 0 is Rayleigh.

    Attributes:
        k: Power of the constant path over the power of the scattered ones (linear), at least 0.
        omega: Mean power Ω.

    Raises:
        InvalidInputError: K < 0 or Ω ≤ 0, or either is not finite.

    Example:
        >>> from mbrl_split.channels import Rice
        >>> h = Rice(k=3.0).ppf([0.1, 0.5, 0.9])
        >>> [round(float(x), 3) for x in h]
        [0.511, 0.937, 1.377]
    """

    k: float
    omega: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.k) and self.k >= 0):
            raise InvalidInputError(f"a Rice factor K is finite and at least 0, not {self.k}")
        _check_omega(self.omega)

    @property
    def _scale(self) -> float:
        return self.omega / (2 * (self.k + 1))

    def ppf(self, u: ArrayLike) -> Array:
        return np.asarray(np.sqrt(stats.ncx2.ppf(u, 2, 2 * self.k) * self._scale))

    def cdf(self, h: ArrayLike) -> Array:
        return np.asarray(stats.ncx2.cdf(np.square(h) / self._scale, 2, 2 * self.k))

    def laplace(self, s: ArrayLike) -> Array:
        spread = np.multiply(s, self.omega) / (1 + self.k)  # s times the power of the scattered paths
        return np.asarray(np.exp(-self.k * spread / (1 + spread)) / (1 + spread))
