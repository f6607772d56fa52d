"""Any surrogate, read from a table: for the inner loop, where one row must cost microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import product
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

from mbrl_split.columns import Column, check_rows
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown
from mbrl_split.surrogates.base import MeasuredRows, RowInfo, Surrogate
from mbrl_split.surrogates.prediction import Array, QuantilePrediction, knots_of
from mbrl_split.surrogates.storage import StoredSurrogate


class Table:
    """A prediction at every point of a grid that is even along each column's scale.

    Args:
        surrogate: Fitted; it answers once per grid point.
        columns: What the columns mean.
        counts: Grid points per column; an ordinal column has one per integer.
        increasing: Columns along which the mean may not fall.
    """

    def __init__(
        self, surrogate: Surrogate, columns: Sequence[Column], counts: Sequence[int], increasing: Sequence[str]
    ) -> None:
        self.columns = tuple(columns)
        axes = [c.from_unit(np.linspace(0, 1, n)) for c, n in zip(columns, counts, strict=True)]
        points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
        p = self._prediction = surrogate.predict(points)
        mean = p.mean.reshape(counts)
        for name in increasing:
            axis = [c.name for c in columns].index(name)
            mean = np.apply_along_axis(isotonic_regression, axis, mean)
        self._shift = mean.ravel() - p.mean
        self.values = np.ascontiguousarray(np.stack([mean.ravel(), p.std_epistemic, p.std_aleatoric], axis=1))
        # Position on the grid = (coordinate − origin)·density, with a log column's coordinate its logarithm.
        self._log = np.flatnonzero([c.scale == "log" for c in columns])
        self._ordinal = np.flatnonzero([c.scale == "ordinal" for c in columns])
        ends = [np.log([c.low, c.high]) if c.scale == "log" else np.array([c.low, c.high]) for c in columns]
        self._origin, high = np.array(ends).T
        length = high - self._origin
        self._last = np.array(counts) - 1
        self._density = np.where(length > 0, self._last / np.where(length > 0, length, 1.0), 0.0)
        self._strides = np.array([int(np.prod(counts[j + 1 :])) for j in range(len(counts))])
        # An ordinal column lies on its grid points exactly: it needs no second corner.
        moves = np.array([c.scale != "ordinal" and n > 1 for c, n in zip(columns, counts, strict=True)])
        self._moving = np.flatnonzero(moves)
        self._corners = np.array(list(product((False, True), repeat=len(self._moving))), dtype=bool)
        self._offsets = self._corners @ self._strides[moves]
        self._top = self._last - moves

    @cached_property
    def knots(self) -> Array:
        """Quantiles at the grid points, (25, points), made not to decrease."""
        return np.maximum.accumulate(knots_of(self._prediction), axis=0) + self._shift

    def locate(self, X: ArrayLike) -> tuple[NDArray[np.intp], Array]:
        """Flat indices of the surrounding grid points and their weights, each (corners, n)."""
        x = np.asarray(X, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            check_rows(x, self.columns)  # words the error
        position = x.copy()
        if len(self._log):
            with np.errstate(invalid="ignore", divide="ignore"):
                position[:, self._log] = np.log(x[:, self._log])
        position = (position - self._origin) * self._density
        inside = (position >= -1e-7) & (position <= self._last + 1e-7)
        ordinal = x[:, self._ordinal]
        if not (inside.all() and (ordinal == np.rint(ordinal)).all()):
            x = check_rows(x, self.columns)
        with np.errstate(invalid="ignore"):
            base = np.clip(np.floor(position + 1e-9).astype(np.intp), 0, self._top)
        flat = base @ self._strides
        weights = np.ones((len(self._corners), len(x)))
        for k, j in enumerate(self._moving):
            fraction = np.clip(position[:, j] - base[:, j], 0.0, 1.0)
            weights *= np.where(self._corners[:, k, None], fraction, 1 - fraction)
        return flat + self._offsets[:, None], weights

    def predict(self, X: ArrayLike) -> QuantilePrediction:
        """Multilinear interpolation along each column's scale."""
        cells, weights = self.locate(X)
        mean, epistemic, aleatoric = np.einsum("cnv,cn->vn", self.values[cells], weights)

        def knots() -> Array:
            return np.asarray(np.einsum("kcn,cn->kn", self.knots[:, cells], weights))

        return QuantilePrediction(mean, epistemic, aleatoric, knots)


@dataclass(eq=False)
class TabulatedSurrogate(StoredSurrogate):
    """A surrogate that answers from a grid of another one's predictions: multilinear, exact in ordinal columns.

    The table is filled on ``fit`` and ``update``. ``sample`` asks the surrogate itself. ``fit`` needs ``columns``,
    since they fix the grid's range; a surrogate already fitted with columns is tabulated at once.

    Args:
        surrogate: Any surrogate; used as it is, not cloned.
        grid: Points per column that is not ordinal, or a mapping from column name to points (33 where not named).
        increasing: Names of columns along which the mean may not fall: it is replaced by its isotonic regression.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.surrogates import MLPSurrogate, TabulatedSurrogate
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.03, 3.0, "log"))
        >>> rng = np.random.default_rng(0)
        >>> X = np.column_stack([c.sample(60, rng) for c in columns])
        >>> fast = TabulatedSurrogate(MLPSurrogate(steps=50), 17).fit(X, X[:, 1] / X[:, 0], columns=columns)
        >>> fast.predict([[3, 0.5], [4, 0.5]]).mean.shape
        (2,)
    """

    surrogate: Surrogate
    grid: int | Mapping[str, int] = 33
    _: KW_ONLY
    increasing: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.increasing = list(self.increasing)
        if not isinstance(self.grid, int):
            self.grid = dict(self.grid)
        if min([self.grid] if isinstance(self.grid, int) else self.grid.values(), default=2) < 2:
            raise InvalidInputError("a grid has at least 2 points per column")
        self._table: Table | None = None
        if self.surrogate.columns is not None:
            self.refresh()

    def refresh(self) -> Self:
        """Fill the table again (after the inner surrogate was changed from outside)."""
        columns = _range(self.surrogate.columns)
        names = [c.name for c in columns]
        for name in (*self.increasing, *(() if isinstance(self.grid, int) else self.grid)):
            if name not in names:
                raise InvalidInputError(unknown("column", name, names))
        self._table = Table(self.surrogate, columns, [self._count(c) for c in columns], self.increasing)
        self.columns = tuple(columns)
        return self

    def _count(self, column: Column) -> int:
        if column.low == column.high:
            return 1
        if column.scale == "ordinal":
            return int(column.high - column.low) + 1
        return self.grid if isinstance(self.grid, int) else self.grid.get(column.name, 33)

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, columns: Sequence[Column] | None = None, **info: Unpack[RowInfo]
    ) -> Self:
        self.surrogate.fit(X, y, columns=_range(columns), **info)
        return self.refresh()

    def update(self, X: ArrayLike, y: ArrayLike, **info: Unpack[RowInfo]) -> Self:
        self._learned(self._table)
        self.surrogate.update(X, y, **info)
        return self.refresh()

    def fit_rows(self, rows: MeasuredRows, *, columns: Sequence[Column] | None = None) -> Self:
        self.surrogate.fit_rows(rows, columns=_range(columns))
        return self.refresh()

    def update_rows(self, rows: MeasuredRows) -> Self:
        self._learned(self._table)
        self.surrogate.update_rows(rows)
        return self.refresh()

    def predict(self, X: ArrayLike) -> QuantilePrediction:
        return self._learned(self._table).predict(X)

    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        self._learned(self._table)
        return self.surrogate.sample(X, n, rng)

    def _state(self) -> dict[str, Any]:
        self._learned(self._table)
        return {}

    def _restore(self, state: Mapping[str, Any]) -> None:
        """The table was filled with the fitted surrogate in hand."""


def _range(columns: Sequence[Column] | None) -> Sequence[Column]:
    if columns is None:
        raise InvalidInputError("a tabulated surrogate needs to know its grid's range: fit(..., columns=...)")
    return columns
