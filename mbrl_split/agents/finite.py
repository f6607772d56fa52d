"""Learning stops at the first number that is not finite, and says which one it was."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import MbrlSplitError


class NonFiniteError(MbrlSplitError, FloatingPointError):
    """A reward, loss or gradient became NaN or infinite; the parameters are those from before the bad step."""


def check_finite(name: str, values: NDArray[Any] | float, step: int) -> None:
    """Raise :class:`NonFiniteError` that names the tensor, the first bad entry and the environment step.

    Raises:
        NonFiniteError: ``values`` has a NaN or an infinity.
    """
    if np.isfinite(values).all():
        return
    array = np.asarray(values)
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    place = f" at index {where}" if where else ""
    raise NonFiniteError(
        f"{name} is {array[where]}{place} at environment step {step}: lower the learning rate or scale inputs"
    )
