"""Nothing is done with a number that is not finite; what is said is which one it was."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import MbrlSplitError


class NonFiniteError(MbrlSplitError, FloatingPointError):
    """An observation, reward, loss or gradient became NaN or infinite; the parameters are those from before."""


LARGEST = float(np.finfo(np.float32).max)
SINGLE = "it must be finite in single precision"


def check_finite(
    name: str,
    values: NDArray[Any] | float,
    step: int | None = None,
    advice: str = "lower the learning rate or scale inputs",
) -> None:
    """Raise :class:`NonFiniteError` that names the tensor, the first bad entry and, if given, the environment step.

    Raises:
        NonFiniteError: ``values`` has a NaN or an infinity.
    """
    if np.count_nonzero(np.isfinite(values)) == np.size(values):  # every step asks: half the time of .all()
        return
    array = np.asarray(values)
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    place = f" at index {where}" if where else ""
    when = "" if step is None else f" at environment step {step}"
    raise NonFiniteError(f"{name} is {array[where]}{place}{when}: {advice}")


def check_rewards(rewards: NDArray[Any], step: int | None = None) -> None:
    """Raise unless rewards, (n,) float64, are finite in single precision.

    Raises:
        NonFiniteError: One is not.
    """
    if np.count_nonzero(np.abs(rewards) <= LARGEST) == len(rewards):
        return
    with np.errstate(over="ignore"):
        check_finite("the reward", rewards.astype(np.float32), step, SINGLE)
