"""Small-scale fading with memory: the state is a complex Gaussian, the gain is read off it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.channels.doppler import doppler_hz, jakes_correlation, scatter_correlation
from mbrl_split.layer_split.sessions import ContextProcessSpec

Array = NDArray[np.float64]


def scatter_memory(context_process: ContextProcessSpec) -> float:
    """The AR(1) parameter of the complex Gaussian for which h² correlates as J0(2π·f_D·T)² between steps.

    Raises:
        InvalidInputError: f_D·T is beyond 0.38.
    """
    doppler = context_process.doppler
    if doppler is None:
        doppler = doppler_hz(context_process.speed, context_process.carrier_ghz * 1e9) * context_process.slot_seconds
    return scatter_correlation(context_process.m, jakes_correlation(doppler))


def next_scatter(scatter: ArrayLike, r: float, fresh: ArrayLike) -> Array:
    """One step of the complex AR(1), (n, 2); ``fresh`` are standard normal numbers, (n, 2)."""
    return np.asarray(r * np.asarray(scatter) + np.sqrt((1 - r * r) / 2) * np.asarray(fresh))
