"""The contract of a surrogate: a learned source of the costly number, with uncertainty."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mbrl_split.columns import Column

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """A predictive distribution per row; all arrays (n,), in the target's unit.

    The default shape is Gaussian; surrogates with skewed or bimodal noise return a subclass with its own
    :meth:`quantile`.

    Attributes:
        mean: Predicted mean of the target.
        std_epistemic: Uncertainty about the mean function: shrinks with more rows. Acquisitions use this part only.
        std_aleatoric: Noise of one fresh measurement around the mean: stays.
    """

    mean: Array
    std_epistemic: Array
    std_aleatoric: Array

    @property
    def std(self) -> Array:
        """Total standard deviation of one fresh measurement."""
        return np.hypot(self.std_epistemic, self.std_aleatoric)

    def quantile(self, q: float) -> Array:
        """The q-quantile of one fresh measurement, shape (n,)."""
        return np.asarray(self.mean + stats.norm.ppf(q) * self.std)

    def interval(self, level: float) -> tuple[Array, Array]:
        """The central interval that holds one fresh measurement with probability ``level``."""
        return self.quantile(0.5 - level / 2), self.quantile(0.5 + level / 2)


class Surrogate(ABC):
    """A learned stand-in for an oracle.

    ``X`` is (n, d), ``y`` (n,) in the target's unit. Scalers are fitted on training rows only and belong to the
    surrogate. With ``columns``, coordinates are transformed along their scale (a log column by its logarithm); without,
    plainly standardised.
    """

    @abstractmethod
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        std_error: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        columns: Sequence[Column] | None = None,
    ) -> Self:
        """Learn from scratch; earlier rows and hyper-parameters are forgotten.

        Args:
            X: Rows, (n, d).
            y: Targets, (n,).
            std_error: Known standard error of each target, (n,).
            groups: Integer label per row; rows of one group (windows of one evaluation) share noise and are held out
                together.
            columns: What the columns of ``X`` mean.

        Raises:
            BadInput: Shapes disagree, no rows, or targets that are not finite.
        """

    @abstractmethod
    def update(
        self, X: ArrayLike, y: ArrayLike, *, std_error: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Add rows, keeping hyper-parameters and scalers."""

    @abstractmethod
    def predict(self, X: ArrayLike) -> Prediction:
        """The predictive distribution at each row of ``X``; refuses to answer before ``fit``."""

    @abstractmethod
    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        """``n`` posterior draws of the mean function at the rows of ``X``, shape (n, len(X)); draws are joint."""

    @abstractmethod
    def score(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """How well fresh targets are predicted: rmse, nll, crps, coverage_90, calibration_error, sharpness."""

    @abstractmethod
    def clone(self, *, seed: int | None = None) -> Self:
        """An unfitted surrogate with the same settings (and, if given, another seed)."""

    @abstractmethod
    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted surrogate to a folder (weights as safetensors or UBJ, the rest JSON; nothing executable)."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote; predictions are bit-equal on the same device."""

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        raise TypeError(f"{type(self).__name__} does not describe its settings as data")
