"""When a method got there: the first point of its curve from which it stays within a stated regret."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mbrl_split.errors import InvalidInputError


@dataclass(frozen=True)
class TimeToTarget:
    """What it took to first reach, and hold, a stated regret.

    Attributes:
        evaluations: True evaluations.
        seconds: Counted truth + measured training, in seconds.
    """

    evaluations: float
    seconds: float


def evaluations_to_target(
    evaluations: ArrayLike, seconds: ArrayLike, regret: ArrayLike, target: float
) -> TimeToTarget | None:
    """The first point from which the regret never again exceeds ``target``; None if the curve ends above it.

    Args:
        evaluations: True evaluations at each point of the curve, ascending, shape (k,).
        seconds: Seconds at each point, shape (k,).
        regret: Regret at each point, shape (k,).
        target: For instance .1 of the headroom.

    Raises:
        InvalidInputError: The curve is empty, its columns differ in length, or the evaluations descend.

    Example:
        >>> from mbrl_split.evaluation import evaluations_to_target
        >>> curve = {"evaluations": [50, 100, 150, 200], "seconds": [1, 2, 3, 4], "regret": [0.5, 0.08, 0.12, 0.06]}
        >>> evaluations_to_target(**curve, target=0.1)  # 100 evaluations reached it and did not hold it
        TimeToTarget(evaluations=200.0, seconds=4.0)
    """
    e, s, r = (np.asarray(a, dtype=np.float64) for a in (evaluations, seconds, regret))
    if e.ndim != 1 or e.size == 0 or not (e.shape == s.shape == r.shape):
        raise InvalidInputError(
            f"a curve has one value per point in each column, not shapes {e.shape}, {s.shape}, {r.shape}"
        )
    if (np.diff(e) < 0).any():
        raise InvalidInputError("a curve's evaluations do not descend")
    above = np.flatnonzero(~(r <= target))  # a nan regret is not within the target
    first = int(above[-1]) + 1 if above.size else 0
    if first == len(r):
        return None
    return TimeToTarget(float(e[first]), float(s[first]))
