"""Whether a surrogate knows what it does not know: coverage where it matters, not only on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.base import Prediction

Array = NDArray[np.float64]

LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


@dataclass(frozen=True)
class Calibration:
    """How often fresh single measurements fell where the prediction said.

    One inflation factor can meet the margin; the terciles and the tails cannot be met that way.

    Attributes:
        level: Nominal coverage of the central interval.
        coverage: Share inside it.
        std_error: Binomial standard error of a perfectly calibrated ``coverage``.
        terciles: Coverage in the lowest, middle and highest third of the predicted means.
        below: Share below the interval; nominal (1 − level)/2.
        above: Share above the interval.
        quantiles: Share of measurements below the predicted quantile at each of ``levels``: the reliability curve.
        levels: The nominal shares.
        n: Measurements.
    """

    level: float
    coverage: float
    std_error: float
    terciles: tuple[float, float, float]
    below: float
    above: float
    quantiles: Array
    levels: Array
    n: int


def calibration(prediction: Prediction, y: ArrayLike, *, level: float = 0.9) -> Calibration:
    """Compare predictions with fresh single measurements that the surrogate has not seen.

    Args:
        prediction: At the rows of ``y``.
        y: Measured numbers, shape (n,).
        level: Nominal coverage of the central interval.

    Raises:
        InvalidInputError: Shapes differ, fewer than three rows, or a level outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from mbrl_split.evaluation import calibration
        >>> from mbrl_split.surrogates import Prediction
        >>> rng = np.random.default_rng(0)
        >>> said = Prediction(mean=np.zeros(500), std_epistemic=np.zeros(500), std_aleatoric=np.full(500, 0.1))
        >>> round(calibration(said, rng.normal(0, 0.2, 500), level=0.9).coverage, 1)  # the noise is twice what was said
        0.6
    """
    target = np.asarray(y, dtype=np.float64)
    if target.shape != prediction.mean.shape or len(target) < 3:
        raise InvalidInputError(
            f"calibration needs one measurement per prediction, at least 3, not shape {target.shape}"
        )
    if not 0 < level < 1:
        raise InvalidInputError(f"a coverage level lies between 0 and 1, not {level}")
    low, high = prediction.interval(level)
    below, above = target < low, target > high
    inside = ~below & ~above
    thirds = np.array_split(np.argsort(prediction.mean, kind="stable"), 3)
    first, second, third = (float(inside[rows].mean()) for rows in thirds)
    return Calibration(
        level=level,
        coverage=float(inside.mean()),
        std_error=float(np.sqrt(level * (1 - level) / len(target))),
        terciles=(first, second, third),
        below=float(below.mean()),
        above=float(above.mean()),
        quantiles=np.array([(target <= prediction.quantile(float(q))).mean() for q in LEVELS]),
        levels=LEVELS.copy(),
        n=len(target),
    )
