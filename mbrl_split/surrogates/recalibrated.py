"""A surrogate whose distributions are corrected by what fresh targets did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.base import RowInfo, Surrogate
from mbrl_split.surrogates.noise import mixed_with_normal
from mbrl_split.surrogates.prediction import MASS, SCORES, Array, Prediction, QuantilePrediction, knots_of
from mbrl_split.surrogates.rows import checked_rows, held_out
from mbrl_split.surrogates.storage import StoredSurrogate


@dataclass(eq=False)
class RecalibratedSurrogate(StoredSurrogate):
    """Quantile recalibration (after Kuleshov et al. 2018) of any surrogate.

    Where the inner surrogate says probability u, the held-out targets show how often that really happened; the inner
    quantile function is read at the probability that did. ``predict`` changes in all its parts: quantiles, the mean,
    and both standard deviations.

    ``fit`` and ``update`` keep a share of the groups apart, learn from the others, recalibrate on the share, then
    hand it to the inner surrogate too. :meth:`recalibrate` does the same with targets of your own.

    Args:
        surrogate: Any surrogate; used as it is, not cloned.
        share: Of the groups, kept apart to recalibrate (with fewer than ten groups: none, and nothing changes).
        prior_rows: Weight, in targets, of the belief that the inner surrogate is calibrated.
        seed: Chooses the groups.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import GPSurrogate, RecalibratedSurrogate
        >>> X = np.random.default_rng(0).random((100, 2))
        >>> surrogate = RecalibratedSurrogate(GPSurrogate()).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
        >>> bool(abs(surrogate.predict([[0.5, 0.5]]).mean[0] - 1.4975) < 0.1)
        True
    """

    surrogate: Surrogate
    _: KW_ONLY
    share: float = 0.25
    prior_rows: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.prior_rows <= 0:
            raise InvalidInputError("share lies between 0 and 1, and prior_rows is positive")
        self.columns = self.surrogate.columns
        self._curve = SCORES.copy()

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, columns: Sequence[Column] | None = None, **info: Unpack[RowInfo]
    ) -> Self:
        rows = checked_rows(X, y, columns=columns, **info)
        held = held_out(rows.groups, self.share, self.seed)
        kept, apart = rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))
        self.surrogate.fit(kept.x, kept.y, std_error=kept.std_error, groups=kept.groups, columns=columns)
        self.columns = self.surrogate.columns
        self._curve = SCORES.copy()
        if len(apart):
            self.recalibrate(apart.x, apart.y)
            self.surrogate.update(apart.x, apart.y, std_error=apart.std_error, groups=apart.groups)
        return self

    def update(self, X: ArrayLike, y: ArrayLike, **info: Unpack[RowInfo]) -> Self:
        """Add rows; the recalibration is kept."""
        self.surrogate.update(X, y, **info)
        return self

    def recalibrate(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the correction anew from targets that the inner surrogate has not seen."""
        found = self.surrogate.predict(X).cdf(np.asarray(y, dtype=np.float64))
        scores = special.ndtri(np.clip(found, 1e-13, 1 - 1e-13))
        values, probability = mixed_with_normal(scores, 99, self.prior_rows)
        position = special.ndtri(probability)
        # Beyond the last target the correction goes on as a shift.
        inside = np.clip(SCORES, max(SCORES[0], position[0]), min(SCORES[-1], position[-1]))
        self._curve = np.interp(inside, position, values) + (SCORES - inside)
        return self

    def predict(self, X: ArrayLike) -> QuantilePrediction:
        inner = self.surrogate.predict(X)
        knots, shift, factor = self._corrected(inner)
        epistemic, aleatoric = inner.std_epistemic * factor, inner.std_aleatoric * factor
        return QuantilePrediction(inner.mean + shift, epistemic, aleatoric, lambda: knots)

    def _corrected(self, inner: Prediction) -> tuple[Array, Array, Array]:
        """Corrected quantiles (25, n), shift of the mean (n,) and factor on the standard deviations (n,)."""
        old, new = knots_of(inner), np.maximum.accumulate(knots_of(inner, self._curve), axis=0)
        old_mean, new_mean = MASS @ old, MASS @ new
        old_std = np.sqrt(MASS @ (old - old_mean) ** 2)
        new_std = np.sqrt(MASS @ (new - new_mean) ** 2)
        return new, new_mean - old_mean, np.where(old_std > 0, new_std / np.where(old_std > 0, old_std, 1.0), 1.0)

    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        inner = self.surrogate.predict(X)
        _, shift, factor = self._corrected(inner)
        return inner.mean + shift + factor * (self.surrogate.sample(X, n, rng) - inner.mean)

    def _state(self) -> dict[str, Any]:
        return {"curve": self._curve}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._curve = state["curve"]
