"""Learn on the instantaneous channel, answer on average over the fading."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import isotonic_regression

from mbrl_split.channels.fading_integral import NakagamiFading, NoFading, ratio_weights
from mbrl_split.columns import Column, check_rows
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.base import MeasuredRows, RowInfo, Surrogate
from mbrl_split.surrogates.gp import GPSurrogate
from mbrl_split.surrogates.mlp import MLPSurrogate
from mbrl_split.surrogates.prediction import MASS, SCORES, Array, QuantilePrediction, knots_of
from mbrl_split.surrogates.storage import StoredSurrogate

_DRAWS = 256  # posterior draws behind the epistemic part: its own relative error is 1/√(2·256), about 4 %


def window_rows(X: ArrayLike, windows: NDArray[np.void]) -> tuple[Array, Array, NDArray[np.int64]]:
    """The windows of a measurement as rows for :class:`FadingSurrogate`.

    Args:
        X: The measured queries, (n, d).
        windows: Records with the fields ``query``, ``gain``, ``nll``, ``clean_nll`` (a measurement's ``records``).

    Returns:
        Rows (k, d + 1) whose last column is the gain, damages (k,) in nats/token, and the query of each as its group.

    Raises:
        InvalidInputError: The records are of something else than windows.
    """
    needed = ("query", "gain", "nll", "clean_nll")
    if missing := [name for name in needed if name not in (windows.dtype.names or ())]:
        raise InvalidInputError(
            f"a fading surrogate learns from text windows: the measurements' records have no {', '.join(missing)}"
        )
    query = np.asarray(windows["query"], dtype=np.int64)
    rows = np.column_stack([np.asarray(X, dtype=np.float64)[query], windows["gain"]])
    return rows, np.asarray(windows["nll"] - windows["clean_nll"], dtype=np.float64), query


@dataclass(eq=False)
class FadingSurrogate(StoredSurrogate):
    """Damage under fading, from a curve in the instantaneous noise-to-gain ratio.

    A receiver that knows the gain h divides by it, so the damage of a window depends on the split and on noise/h
    alone: every (noise, m) teaches every other. The inner surrogate learns that curve from single windows; a
    prediction integrates it over h² ~ Gamma(m, 1/m) exactly, as a piecewise-linear function of h. No damage without
    noise: the curve starts at 0. Of a raw channel, which does not divide, none of this holds; rows cannot tell the two
    apart, so it is the caller who must.

    The columns are (split, noise, m), or (split, noise) where every gain is 1. Rayleigh fading is an m from 1 to 1.

    ``fit`` takes rows with one more column than ``columns`` names, the gain (see :func:`window_rows`). ``predict``
    takes rows as ``columns`` names them, and describes the mean of ``windows`` windows, each with its own gain.

    The inner surrogate needs joint draws; the posterior of the integral is their spread.

    Args:
        surrogate: Any surrogate; used as it is, not cloned. It sees the columns (split, ratio).
        windows: Windows per fresh measurement.
        knots: Points of the curve, evenly spaced in the logarithm of the ratio.
        monotone: Whether the curve and every draw are made non-decreasing in the ratio (isotonic regression).

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.layer_split import FadingSurrogate
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns = (
        ...     Column("split", "layers", 1, 11, "ordinal"),
        ...     Column("noise", "RMS", 0.03, 3.0, "log"),
        ...     Column("m", "1", 0.5, 8.0, "log"),
        ... )
        >>> rng = np.random.default_rng(0)
        >>> X = np.column_stack([c.sample(100, rng) for c in columns])
        >>> gain = np.sqrt(rng.gamma(X[:, 2], 1 / X[:, 2]))
        >>> damage = np.log1p((X[:, 1] / gain) ** 2) / X[:, 0]
        >>> surrogate = FadingSurrogate(GPSurrogate()).fit(np.column_stack([X, gain]), damage, columns=columns)
        >>> surrogate.predict([[3, 0.5, 1.0]]).mean.shape
        (1,)
    """

    surrogate: Surrogate
    _: KW_ONLY
    windows: int = 8
    knots: int = 48
    monotone: bool = True

    def __post_init__(self) -> None:
        if self.windows < 1 or self.knots < 2:
            raise InvalidInputError("windows is at least 1 and knots at least 2")
        self._curve: _Curve | None = None

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, columns: Sequence[Column] | None = None, **info: Unpack[RowInfo]
    ) -> Self:
        if columns is None:
            raise InvalidInputError("a fading surrogate needs columns= to know which are split, noise and m")
        self._set_columns(tuple(columns))
        self.surrogate.fit(self._ratios(X), y, columns=self._inner, **info)
        return self._refresh()

    def update(self, X: ArrayLike, y: ArrayLike, **info: Unpack[RowInfo]) -> Self:
        self._learned(self._curve)
        self.surrogate.update(self._ratios(X), y, **info)
        return self._refresh()

    def fit_rows(self, rows: MeasuredRows, *, columns: Sequence[Column] | None = None) -> Self:
        """:meth:`fit` on the single windows of a perplexity oracle's rows; windows of one evaluation are a group."""
        X, y, groups = window_rows(rows.X, rows.records)
        return self.fit(X, y, groups=groups, columns=columns)

    def update_rows(self, rows: MeasuredRows) -> Self:
        X, y, groups = window_rows(rows.X, rows.records)
        return self.update(X, y, groups=groups)

    def predict(self, X: ArrayLike) -> QuantilePrediction:
        curve, split, weights = self._weights(X)
        moments = np.einsum("nk,mnk->mn", weights, curve.moments[:, split])
        mean, aleatoric, skewness = _central(moments, self.windows)
        epistemic = np.empty(len(mean))
        for p in np.unique(split):  # one matrix product per split
            rows = split == p
            epistemic[rows] = (weights[rows] @ curve.draws[:, p].T).std(axis=1)
        std = np.hypot(epistemic, aleatoric)
        # The posterior is taken as symmetric, so it thins the skewness of the noise.
        thinned = skewness * np.divide(aleatoric, std, out=np.zeros_like(std), where=std > 0) ** 3
        return QuantilePrediction(mean, epistemic, aleatoric, lambda: mean + std * _pearson(thinned))

    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        curve, split, weights = self._weights(X)
        draws = self._draw(n, rng)
        # Draws are centred on the curve that predict reports.
        centred = draws + (curve.moments[0] - curve.draws.mean(axis=0))
        found: Array = np.einsum("nk,snk->sn", weights, centred[:, split])
        return found

    def _state(self) -> dict[str, Any]:
        self._learned(self._curve)
        return {}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._set_columns(self.columns or ())
        self._refresh()

    def _set_columns(self, columns: tuple[Column, ...]) -> None:
        names = tuple(c.name for c in columns)
        if names not in (("split", "noise"), ("split", "noise", "m")):
            raise InvalidInputError(
                f"a fading surrogate answers for the columns split, noise and m, not ({', '.join(names)})"
            )
        split, noise = columns[:2]
        if noise.scale != "log":
            raise InvalidInputError("the noise has a log scale here: its ratio to the gain spans decades")
        self.columns = columns
        # Gains from 3 down to 1/30: a deeper fade of the loudest noise has long destroyed everything.
        self._inner = (split, Column("ratio", noise.unit, noise.low / 3, noise.high * 30, "log"))

    def _ratios(self, X: ArrayLike) -> Array:
        columns = self.columns or ()
        x = np.asarray(X, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(columns) + 1:
            names = ", ".join(c.name for c in columns)
            raise InvalidInputError(
                f"a fading surrogate learns from single windows: rows ({names}, gain), not {x.shape}"
            )
        plain, gain = check_rows(x[:, :-1], columns), x[:, -1]
        if not (gain > 0).all():
            raise InvalidInputError(f"gains are positive, not {np.min(gain):g}")
        if plain.shape[1] == 2 and not (gain == 1).all():
            raise InvalidInputError(
                "rows with a gain other than 1 need a column m that says how it fades (Rayleigh: one from 1 to 1)"
            )
        ratio = self._inner[1]
        return np.column_stack([plain[:, 0], np.clip(plain[:, 1] / gain, ratio.low, ratio.high)])

    def _refresh(self) -> Self:
        split, ratio = self._inner
        splits = np.arange(int(split.low), int(split.high) + 1, dtype=np.float64)
        ratios = ratio.from_unit(np.linspace(0, 1, self.knots))
        self._points = np.stack([a.ravel() for a in np.meshgrid(splits, ratios, indexing="ij")], axis=1)
        self._grid = (len(splits), self.knots)
        p = self.surrogate.predict(self._points)
        quantiles = knots_of(p)
        spread = quantiles - MASS @ quantiles
        width = np.sqrt(MASS @ spread**2)
        # Where there is no noise to speak of (at a knot far below the rows, say) there is no skewness either.
        spread = np.divide(spread, width, out=np.zeros_like(spread), where=width > np.finfo(np.float64).tiny)
        skewness = MASS @ spread**3
        mean, variance = self._shaped(p.mean[None])[0], self._padded(p.std_aleatoric[None] ** 2)[0]
        third = self._padded((skewness * p.std_aleatoric**3)[None])[0]
        # Moments about zero, since these mix linearly over the gain.
        moments = np.stack([mean, variance + mean**2, third + 3 * mean * variance + mean**3])
        self._curve = _Curve(ratios, moments, self._draw(_DRAWS, np.random.default_rng(0)))
        return self

    def _draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draws of the curves at (split, knot), (n, splits, knots + 2)."""
        return self._shaped(self.surrogate.sample(self._points, n, rng))

    def _shaped(self, values: Array) -> Array:
        """Curves (n, splits, knots + 2) with their ends, from values (n, splits·knots)."""
        curves = values.reshape(len(values), *self._grid)
        if self.monotone:
            curves = np.apply_along_axis(_monotone, 2, curves)
        return self._padded(curves)

    def _padded(self, values: Array) -> Array:
        """Add the ends of a curve: zero at ratio 0; beyond the last knot it stays what it is there."""
        curves = values.reshape(len(values), *self._grid)
        return np.concatenate([np.zeros_like(curves[..., :1]), curves, curves[..., -1:]], axis=2)

    def _weights(self, X: ArrayLike) -> tuple[_Curve, NDArray[np.intp], Array]:
        """The curve, which split each row asks for, and the weights (n, knots + 2) that integrate it."""
        curve = self._learned(self._curve)
        x = check_rows(X, self.columns or ())
        split = (x[:, 0] - self._inner[0].low).astype(np.intp)
        # Whoever compares splits asks about each in the same context: the integrals are the same.
        contexts, which = np.unique(x[:, 1:], axis=0, return_inverse=True)
        law = NakagamiFading(np.maximum(contexts[:, 1:], 0.5)) if x.shape[1] == 3 else NoFading()
        return curve, split, ratio_weights(law, contexts[:, 0], curve.ratios)[which.ravel()]


def _monotone(curve: Array) -> Array:
    return np.asarray(isotonic_regression(curve).x)


class _Curve:
    """The tabulated curve: ratios (K,), moments about zero (3, splits, K + 2), draws (draws, splits, K + 2)."""

    def __init__(self, ratios: Array, moments: Array, draws: Array) -> None:
        self.ratios, self.moments, self.draws = ratios, moments, draws


def _central(moments: Array, windows: int) -> tuple[Array, Array, Array]:
    """Mean, standard deviation and skewness of the mean of ``windows`` independent windows, from raw moments."""
    first, second, third = moments
    variance = np.maximum(second - first**2, 0.0)
    central = third - 3 * first * variance - first**3
    skewness = np.divide(central, variance**1.5, out=np.zeros_like(variance), where=variance > 1e-18)
    return first, np.sqrt(variance / windows), skewness / np.sqrt(windows)


def _pearson(skewness: Array) -> Array:
    """Standardised quantiles at SCORES, (25, n), of a shifted gamma law (Pearson III) of the given skewness."""
    size = np.clip(np.abs(skewness), 1e-2, 4.0)
    shape = 4 / size**2
    values = (special.gammaincinv(shape, special.ndtr(SCORES)[:, None]) - shape) / np.sqrt(shape)
    values = np.where(skewness >= 0, values, -values[::-1])
    # The gamma law ends abruptly on its short side; a moment fit does not know where, so some width is kept.
    middle, width = len(SCORES) // 2, SCORES[1] - SCORES[0]
    steps = np.maximum(np.diff(values, axis=0), 0.2 * width)
    below, above = steps[:middle][::-1].cumsum(axis=0)[::-1], steps[middle:].cumsum(axis=0)
    return np.asarray(np.concatenate([-below, np.zeros_like(values[:1]), above]) + values[middle])


def fading_gp(*, seed: int = 0, **settings: Any) -> FadingSurrogate:
    """A :class:`FadingSurrogate` over a Gaussian process; ``settings`` are the process's own."""
    return FadingSurrogate(GPSurrogate(seed=seed, **settings))


def fading_mlp(*, seed: int = 0, **settings: Any) -> FadingSurrogate:
    """A :class:`FadingSurrogate` over one network; ``settings`` are the network's own."""
    return FadingSurrogate(MLPSurrogate(seed=seed, **settings))


# Whoever asks which settings they take, to check a suite's, is told those of the surrogate inside.
fading_gp.__signature__ = inspect.signature(GPSurrogate)  # type: ignore[attr-defined]
fading_mlp.__signature__ = inspect.signature(MLPSurrogate)  # type: ignore[attr-defined]
