"""A surrogate whose distributions are corrected by what fresh targets did."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.base import Surrogate
from mbrl_split.surrogates.loading import load_wrapper, save_wrapper
from mbrl_split.surrogates.prediction import Array, Prediction
from mbrl_split.surrogates.quantiles import MASS, SCORES, KnotPrediction
from mbrl_split.surrogates.rows import checked_rows, held_out


class RecalibratedSurrogate(Surrogate):
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

    def __init__(self, surrogate: Surrogate, *, share: float = 0.25, prior_rows: float = 20.0, seed: int = 0) -> None:
        if not 0 < share < 1 or prior_rows <= 0:
            raise InvalidInputError("share lies between 0 and 1, and prior_rows is positive")
        self.surrogate = surrogate
        self.share, self.prior_rows, self.seed = share, prior_rows, seed
        self.columns = surrogate.columns
        self._curve = SCORES.copy()

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        std_error: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        columns: Sequence[Column] | None = None,
    ) -> Self:
        rows = checked_rows(X, y, std_error, groups, columns=columns)
        held = held_out(rows.groups, self.share, self.seed)
        kept, apart = rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))
        self.surrogate.fit(kept.x, kept.y, std_error=kept.std_error, groups=kept.groups, columns=columns)
        self.columns = self.surrogate.columns
        self._curve = SCORES.copy()
        if len(apart):
            self.recalibrate(apart.x, apart.y)
            self.surrogate.update(apart.x, apart.y, std_error=apart.std_error, groups=apart.groups)
        return self

    def update(
        self, X: ArrayLike, y: ArrayLike, *, std_error: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Add rows; the recalibration is kept."""
        self.surrogate.update(X, y, std_error=std_error, groups=groups)
        return self

    def recalibrate(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the correction anew from targets that the inner surrogate has not seen."""
        prediction = self.surrogate.predict(X)
        probability = np.clip(prediction.cdf(np.asarray(y, dtype=np.float64)), 1e-13, 1 - 1e-13)
        found = special.ndtri(probability)
        belief = special.ndtri((np.arange(99) + 0.5) / 99)
        values = np.concatenate([found, belief])
        weights = np.concatenate([np.ones(len(found)), np.full(99, self.prior_rows / 99)])
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
        position = special.ndtri((np.cumsum(weights) - 0.5 * weights) / weights.sum())
        # Beyond the last target the correction goes on as a shift.
        low, high = max(SCORES[0], position[0]), min(SCORES[-1], position[-1])
        inside = np.clip(SCORES, low, high)
        self._curve = np.interp(inside, position, values) + (SCORES - inside)
        return self

    def predict(self, X: ArrayLike) -> KnotPrediction:
        inner = self.surrogate.predict(X)
        knots, shift, factor = self._corrected(inner)
        return KnotPrediction(
            inner.mean + shift, inner.std_epistemic * factor, inner.std_aleatoric * factor, values=knots
        )

    def _corrected(self, inner: Prediction) -> tuple[Array, Array, Array]:
        """Corrected quantiles (25, n), shift of the mean (n,) and factor on the standard deviations (n,)."""
        old = np.array([inner.quantile(float(q)) for q in special.ndtr(SCORES)])
        new = np.array([inner.quantile(float(q)) for q in special.ndtr(self._curve)])
        new = np.maximum.accumulate(new, axis=0)
        old_mean, new_mean = MASS @ old, MASS @ new
        old_std = np.sqrt(MASS @ (old - old_mean) ** 2)
        new_std = np.sqrt(MASS @ (new - new_mean) ** 2)
        return new, new_mean - old_mean, np.where(old_std > 0, new_std / np.where(old_std > 0, old_std, 1.0), 1.0)

    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        inner = self.surrogate.predict(X)
        _, shift, factor = self._corrected(inner)
        return inner.mean + shift + factor * (self.surrogate.sample(X, n, rng) - inner.mean)

    def clone(self, *, seed: int | None = None) -> Self:
        own = self.seed if seed is None else seed
        return type(self)(self.surrogate.clone(seed=seed), share=self.share, prior_rows=self.prior_rows, seed=own)

    def config(self) -> dict[str, Any]:
        own = {"share": self.share, "prior_rows": self.prior_rows, "seed": self.seed}
        return {"surrogate": self.surrogate.config(), **own}

    def save(self, path: str | PathLike[str]) -> None:
        own = {"share": self.share, "prior_rows": self.prior_rows, "seed": self.seed}
        save_wrapper(path, self, self.surrogate, own, {"curve": self._curve})

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        state, surrogate, arrays = load_wrapper(path, cls.__name__, device)
        self = cls(surrogate, share=state["share"], prior_rows=state["prior_rows"], seed=state["seed"])
        self._curve = arrays["curve"]
        return self
