"""The contract of a surrogate: a learned source of the costly number, with uncertainty."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, Self, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.surrogates.prediction import Array, Prediction
from mbrl_split.surrogates.scoring import score

__all__ = ["Array", "Prediction", "Surrogate"]


class RowInfo(TypedDict, total=False):
    """What :meth:`Surrogate.fit` and :meth:`Surrogate.update` may be told of each row beside its target."""

    std_error: ArrayLike | None
    groups: ArrayLike | None


class MeasuredRows(Protocol):
    """Rows of a ledger (``mbrl_split.oracles.Rows``), as far as a surrogate reads them; (n, …) each."""

    @property
    def X(self) -> Array: ...
    @property
    def y(self) -> Array: ...
    @property
    def std_error(self) -> Array: ...
    @property
    def records(self) -> NDArray[np.void]: ...


class Surrogate(ABC):
    """A learned stand-in for an oracle.

    ``X`` is (n, d), ``y`` (n,) in the target's unit. Scalers are fitted on training rows only and belong to the
    surrogate. With ``columns``, coordinates are transformed along their scale (a log column by its logarithm); without,
    plainly standardised.

    Attributes:
        columns: What the columns of ``X`` mean, as given to :meth:`fit`; None before, or if nothing was given.
    """

    columns: tuple[Column, ...] | None = None

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
            std_error: Known standard error of each target, (n,); nan where unknown. Precise rows count for more; the
                aleatoric part still describes one fresh target of the kind that ``y`` holds.
            groups: Integer label per row; rows of one group (parts of one measurement) share noise and are held out
                together. Labels keep their meaning in :meth:`update`; without labels each row is its own group.
            columns: What the columns of ``X`` mean.

        Raises:
            InvalidInputError: Shapes disagree, no rows, or targets that are not finite.
        """

    @abstractmethod
    def update(
        self, X: ArrayLike, y: ArrayLike, *, std_error: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Add rows, keeping hyper-parameters and scalers."""

    def fit_rows(self, rows: MeasuredRows, *, columns: Sequence[Column] | None = None) -> Self:
        """:meth:`fit` on rows of a ledger: here each measurement with its standard error.

        A surrogate that can use what the oracle recorded beside the mean overrides this and :meth:`update_rows`.
        """
        return self.fit(rows.X, rows.y, std_error=rows.std_error, columns=columns)

    def update_rows(self, rows: MeasuredRows) -> Self:
        """:meth:`update` with rows of a ledger."""
        return self.update(rows.X, rows.y, std_error=rows.std_error)

    @abstractmethod
    def predict(self, X: ArrayLike) -> Prediction:
        """The predictive distribution at each row of ``X``; refuses to answer before ``fit``."""

    @abstractmethod
    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        """``n`` posterior draws of the mean function at the rows of ``X``, shape (n, len(X)); draws are joint."""

    def score(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """How well fresh targets are predicted: rmse, nll, crps, coverage_90, calibration_error, sharpness."""
        return score(self.predict(X), y)

    @abstractmethod
    def clone(self, *, seed: int | None = None) -> Self:
        """An unfitted surrogate with the same settings (and, if given, another seed)."""

    @abstractmethod
    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted surrogate to a folder (numbers as safetensors, the rest JSON; nothing executable)."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote; predictions are bit-equal on the same device.

        Raises:
            UnsupportedError: The folder is not a saved surrogate of this class, or was changed or cut short since.
        """

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        raise TypeError(f"{type(self).__name__} does not describe its settings as data")
