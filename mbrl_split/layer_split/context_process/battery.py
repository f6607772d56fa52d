"""The battery of the user's device."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def discharge(charge: ArrayLike, joules: ArrayLike, capacity: float) -> Array:
    """The charge (0 … 1) after ``joules`` were drawn from a battery of ``capacity`` J; never below 0."""
    return np.maximum(np.asarray(charge) - np.asarray(joules) / capacity, 0.0)


def joule_price(charge: ArrayLike, low_battery: float) -> Array:
    """What a joule counts: 1 at full charge, rising linearly to 1 + ``low_battery`` when empty."""
    return np.asarray(1.0 + low_battery * (1.0 - np.asarray(charge, dtype=np.float64)))
