"""The rows a surrogate learns from: checked once, made dimensionless, and held out by groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mbrl_split.columns import Column, check_rows
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.prediction import Array


@dataclass(frozen=True)
class Rows:
    """Checked training rows.

    Attributes:
        x: (n, d).
        y: (n,), finite.
        std_error: Standard error of each target, (n,); nan where unknown.
        groups: Label per row, (n,); rows of one group are held out together.
    """

    x: Array
    y: Array
    std_error: Array
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def join(self, other: Rows) -> Rows:
        """These rows, then the others; equal labels mean the same group."""
        return Rows(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows at ``index``."""
        return Rows(*(value[index] for value in vars(self).values()))


def check_queries(X: ArrayLike, width: int | None, columns: Sequence[Column] | None) -> Array:
    """``X`` as finite float64 of shape (n, width).

    Raises:
        InvalidInputError: Another shape, or a value that is not finite or outside its column.
    """
    if columns is not None:
        return check_rows(X, columns)
    x = np.asarray(X, dtype=np.float64)
    if x.ndim != 2 or (width is not None and x.shape[1] != width) or x.shape[1] == 0:
        raise InvalidInputError(f"X has shape (n, {width or 'd'}), not {x.shape}")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise InvalidInputError(f"X[{row}, {column}] is {x[row, column]}; inputs are finite numbers")
    return x


def checked_rows(
    X: ArrayLike,
    y: ArrayLike,
    *,
    std_error: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    columns: Sequence[Column] | None = None,
    width: int | None = None,
    first_group: int = 0,
) -> Rows:
    """Rows from the arguments of ``fit``; without ``groups`` each row is its own group, from ``first_group`` on.

    Raises:
        InvalidInputError: No rows, shapes that disagree, or values that are not finite.
    """
    x = check_queries(X, width, columns)
    n = len(x)
    if n == 0:
        raise InvalidInputError("a surrogate needs at least one row to learn from")
    target = _column("y", y, n)
    if not np.isfinite(target).all():
        row = int(np.flatnonzero(~np.isfinite(target))[0])
        raise InvalidInputError(f"y[{row}] is {target[row]}; targets are finite numbers")
    error = np.full(n, np.nan) if std_error is None else _column("std_error", std_error, n)
    if not (np.isnan(error) | (np.isfinite(error) & (error >= 0))).all():
        raise InvalidInputError("std_error holds standard errors: finite and at least 0 (nan: unknown)")
    if groups is None:
        label = np.arange(first_group, first_group + n, dtype=np.float64)
    else:
        label = _column("groups", groups, n)
        if not np.array_equal(label, np.rint(label)):
            raise InvalidInputError("groups holds one integer label per row")
    return Rows(x, target, error, label.astype(np.int64))


def _column(name: str, values: ArrayLike, n: int) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n,):
        raise InvalidInputError(f"{name} has shape ({n},) like the rows of X, not {array.shape}")
    return array


@dataclass(frozen=True)
class InputScaler:
    """Affine map of inputs (after a logarithm where the column says so) to about zero mean and unit variance.

    Attributes:
        log: Which columns are taken by their logarithm, (d,).
        centre: (d,).
        spread: (d,).
    """

    log: Array
    centre: Array
    spread: Array

    @classmethod
    def fit(cls, x: Array, columns: Sequence[Column] | None) -> Self:
        """With columns: unit variance over the declared range, so it does not depend on which rows came first.
        Without: the rows' own mean and standard deviation. An ordinal column is a coordinate like any other."""
        if columns is None:
            centre, spread = x.mean(axis=0), x.std(axis=0)
            # Duplicates summed in floating point leave a spread of rounding errors, not of data.
            constant = spread <= 1e-12 * np.maximum(np.abs(centre), 1e-300)
            return cls(np.zeros(x.shape[1]), centre, np.where(constant, 1.0, spread))
        log = np.array([c.scale == "log" for c in columns], dtype=np.float64)
        ends = np.array([[c.low, c.high] for c in columns]).T
        low, high = np.where(log > 0, np.log(np.where(log > 0, ends, 1.0)), ends)
        return cls(log, (low + high) / 2, np.where(high > low, (high - low) / np.sqrt(12.0), 1.0))

    def __call__(self, x: Array) -> Array:
        """Coordinates (n, d) of inputs (n, d)."""
        on = self.log > 0
        if on.any():
            x = np.where(on, np.log(np.where(on, x, 1.0)), x)
        return np.asarray((x - self.centre) / self.spread)


def held_out(groups: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out, (n,): whole groups, chosen by a hash of (seed, label).

    A hash, not a shuffle: after an update the same groups stay held out, so that no stopping rule is ever judged by
    rows that the weights have seen. Fewer than ten groups: nothing is held out.
    """
    labels, inverse = np.unique(groups, return_inverse=True)
    if len(labels) < 10:
        return np.zeros(len(groups), dtype=bool)
    chosen = hashed_uniform(labels, seed) < fraction
    if not chosen.any():
        chosen[np.argmin(hashed_uniform(labels, seed))] = True
    return np.asarray(chosen[inverse])


def folds(groups: NDArray[np.int64], k: int, seed: int) -> NDArray[np.bool_]:
    """Membership in nothing and in ``k`` disjoint folds of whole groups, (k + 1, n), by the same kind of hash.

    Fewer than ten groups: all folds are empty.
    """
    fold = np.floor(hashed_uniform(groups, seed) * k) + 1
    if len(np.unique(groups)) < 10:
        fold = np.zeros(len(groups))
    members = np.arange(k + 1)[:, None]
    return np.asarray((fold == members) & (members > 0))


def bootstrap_counts(groups: NDArray[np.int64], members: int, seed: int) -> NDArray[np.float64]:
    """How often each row occurs in each member's bootstrap, (members, n): whole groups, Poisson(1) each.

    Like :func:`held_out` by a hash, so that what a member has never seen it never sees later. A member that would see
    nothing sees everything.
    """
    steps = stats.poisson.cdf(np.arange(8), 1.0)
    counts = np.array([np.searchsorted(steps, hashed_uniform(groups, seed + 7919 * (k + 1))) for k in range(members)])
    counts[counts.sum(axis=1) == 0] = 1
    return counts.astype(np.float64)


def hashed_uniform(labels: NDArray[np.int64], seed: int) -> Array:
    """Uniform numbers in [0, 1) from integers (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        z = labels.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / 2**53)
