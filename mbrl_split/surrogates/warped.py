"""What the learned surrogates share: rows in, a warped target scale, honest noise, and a distribution out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.base import RowInfo
from mbrl_split.surrogates.noise import NoiseModel, Shape, shrink_variances
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import InputScaler, Rows, check_queries, checked_rows
from mbrl_split.surrogates.storage import StoredSurrogate, take
from mbrl_split.surrogates.warp import Warp, WarpedPrediction, choose_scale


@dataclass(frozen=True)
class Latent:
    """A normal distribution of the mean function per row, on the warped scale; all (n,).

    Attributes:
        mean: Posterior mean.
        variance: Posterior variance of the mean function.
        noise: Noise variance that the model itself predicts; one where it predicts none.
    """

    mean: Array
    variance: Array
    noise: Array | float = 1.0


OutOfFold = tuple[NDArray[np.int64], Latent]
"""Which training rows were also predicted by models that did not see them or their group, (k,), and how."""


def row_weights(known: Array) -> Array:
    """Weights (n,), of mean one, of rows with known noise variances (n,).

    A tenth of the targets' variance stands for what a precise row still leaves unexplained.
    """
    weights = 0.1 / (0.1 + known)
    return np.asarray(weights / weights.mean())


@dataclass(eq=False, kw_only=True)
class WarpedSurrogate(StoredSurrogate):
    """Base of the surrogates that learn: subclasses model a standardised latent target, this class the rest.

    Inputs become dimensionless coordinates, targets are warped (:class:`~mbrl_split.surrogates.warp.Warp`). Noise, the
    shape of its distribution and a factor on the epistemic part are learned from the subclass's honest predictions.

    Subclasses implement ``_learn``, ``_latent`` and ``_draw`` on coordinates and latent targets, and add their weights
    to ``_state`` and ``_restore``. They override nothing else that is implemented here.

    Args:
        warp: ``"auto"`` chooses the scale of asinh(y/scale) by marginal likelihood (no warp included); ``"none"``
            learns the target as it is; ``"unless-std-error"`` is ``"auto"`` unless known errors above 0 speak against
            the warp: it is there to make noise even, so it stays away where they are no evener on the warped scale. An
            update with such errors makes a warped fit learn anew, from all rows.
        seed: Everything random follows from it.
    """

    warp: Literal["unless-std-error", "auto", "none"] = "unless-std-error"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.warp not in ("unless-std-error", "auto", "none"):
            raise InvalidInputError(f"warp is 'unless-std-error', 'auto' or 'none', not {self.warp!r}")
        if int(self.seed) != self.seed or self.seed < 0:
            raise InvalidInputError(f"seed is a non-negative integer, not {self.seed!r}")
        self.seed = int(self.seed)
        self._rows: Rows | None = None
        self._scaler: InputScaler
        self._warp: Warp
        self._noise: NoiseModel
        self._shape: Shape

    # What a subclass provides

    @abstractmethod
    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        """Learn latent targets ``z`` (n,) at coordinates ``c`` (n, d); ``known`` (n,) are known noise variances.

        ``warm``: rows were added to an earlier fit, hyper-parameters stay.
        """

    @abstractmethod
    def _latent(self, c: Array) -> Latent:
        """The latent prediction at coordinates ``c`` (n, d)."""

    @abstractmethod
    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        """``n`` joint draws of the latent mean function, (n, len(c))."""

    # What every subclass shares

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, columns: Sequence[Column] | None = None, **info: Unpack[RowInfo]
    ) -> Self:
        rows = checked_rows(X, y, columns=columns, **info)
        self.columns = None if columns is None else tuple(columns)
        self._scaler = InputScaler.fit(rows.x, columns)
        scale = np.inf if self.warp == "none" else choose_scale(self._scaler(rows.x), rows.y)
        self._warp = Warp.fit(rows.y, scale)
        if not self._warp_holds(rows):
            self._warp = Warp.fit(rows.y, np.inf)
        return self._learn_rows(rows, warm=False)

    def update(self, X: ArrayLike, y: ArrayLike, **info: Unpack[RowInfo]) -> Self:
        old = self._learned(self._rows)
        width, unused = old.x.shape[1], int(old.groups.max()) + 1
        rows = old.join(checked_rows(X, y, columns=self.columns, width=width, first_group=unused, **info))
        warm = self._warp_holds(rows)
        # What was learnt on a warped scale means nothing without it.
        self._warp = self._warp.bounded(rows.y) if warm else Warp.fit(rows.y, np.inf)
        return self._learn_rows(rows, warm=warm)

    def _warp_holds(self, rows: Rows) -> bool:
        """Whether the known errors are evener on the scale of the warp: their logarithms spread less.

        The choice of the scale takes every scatter for the target's own noise, and a known error is carried over by the
        slope at the noisy target: too small where noise made the target large. Errors that grow with the target, as
        those of a mean of costs do, bear both.
        """
        on = rows.std_error > 0
        if np.isinf(self._warp.scale) or self.warp == "auto" or not on.any():
            return True
        plain = np.log(rows.std_error[on])
        return bool(np.std(plain + np.log(self._warp.slope(rows.y[on]))) < np.std(plain))

    def _learn_rows(self, rows: Rows, *, warm: bool) -> Self:
        c, z, known = self._latent_rows(rows)
        honest, p = self._learn(c, z, known, rows.groups, warm=warm)
        c, residuals = c[honest], z[honest] - p.mean
        self._noise = NoiseModel.fit(c, p.mean, p.variance, residuals, p.noise)
        noise = self._noise.variance(c, p.mean, p.noise)
        self._shape = Shape.fit(residuals / np.sqrt(noise + self._noise.inflation**2 * p.variance + 1e-12))
        self._rows = rows
        return self

    def _latent_rows(self, rows: Rows) -> tuple[Array, Array, Array]:
        """Coordinates (n, d), latent targets (n,) and their known noise variances (n,)."""
        c, z = self._scaler(rows.x), self._warp.to_latent(rows.y)
        return c, z, shrink_variances((rows.std_error * self._warp.slope(rows.y)) ** 2, c, z)

    def _ask(self, X: ArrayLike) -> tuple[Array, Latent, Array]:
        """Coordinates (n, d), the latent prediction, and the standard deviation of the noise, (n,)."""
        rows = self._learned(self._rows)
        c = self._scaler(check_queries(X, rows.x.shape[1], self.columns))
        p = self._latent(c)
        return c, p, np.sqrt(self._noise.variance(c, p.mean, p.noise))

    def predict(self, X: ArrayLike) -> WarpedPrediction:
        _, p, noise = self._ask(X)
        epistemic = self._noise.inflation * np.sqrt(p.variance)
        return WarpedPrediction.of(p.mean, epistemic, noise, self._warp, self._shape)

    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        c, p, noise = self._ask(X)
        z = p.mean + self._noise.inflation * (self._draw(c, n, rng) - p.mean)
        return self._warp.noisy_mean(z, np.broadcast_to(noise, z.shape), self._shape)[0]

    def _state(self) -> dict[str, Any]:
        rows = self._learned(self._rows)
        shared = {"scaler": self._scaler, "warp": self._warp, "noise": self._noise, "shape": self._shape}
        return {"rows": rows, **shared}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._rows, self._scaler = take(state, "rows", Rows), take(state, "scaler", InputScaler)
        self._warp, self._noise = take(state, "warp", Warp), take(state, "noise", NoiseModel)
        self._shape = take(state, "shape", Shape)
