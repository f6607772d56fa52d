"""A conformance suite for oracles: run it on your own class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles.base import Measurement, Oracle, check_record_fields


def check_oracle(oracle: Oracle, *, seed: int = 0) -> None:
    """Check an oracle against its contract; takes about twenty true evaluations, outside any ledger.

    Args:
        oracle: The oracle to check.
        seed: Fixes the queries.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    _check_attributes(oracle)
    rng = np.random.default_rng(seed)
    X = np.column_stack([column.sample(3, rng) for column in oracle.columns])
    seeds = rng.integers(0, 2**31, size=3)
    found = oracle.measure(X, seeds=seeds)
    _check_shapes(found, 3)
    _check_records(found)
    _check_price(oracle, X, seeds, found)
    _check_independence(oracle, X, seeds, found)
    _check_seeds(oracle, X, seeds, found)
    _check_sizes(oracle, X, seeds)
    _check_refusals(oracle, X)
    _say(len(oracle.measure(X[:0], seeds=seeds[:0])) == 0, "no queries should give a measurement of length 0")


def _say(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


def _check_attributes(oracle: Oracle) -> None:
    columns = oracle.columns
    _say(
        isinstance(columns, tuple) and len(columns) > 0 and all(isinstance(c, Column) for c in columns),
        f"columns is a non-empty tuple of Column, not {columns!r}",
    )
    _say(isinstance(oracle.identity, str), f"identity is a string, not {oracle.identity!r}")
    size = oracle.evaluation_size
    _say(isinstance(size, int) and size >= 1, f"evaluation_size is an integer of at least 1, not {size!r}")


def _check_shapes(found: Measurement, n: int) -> None:
    kinds = {"size": "i", "n_capped": "i"}
    for name in _NUMBERS:
        array = getattr(found, name)
        _say(
            isinstance(array, np.ndarray) and array.shape == (n,) and array.dtype.kind == kinds.get(name, "f"),
            f"{name} is an array of shape ({n},) of {'integers' if name in kinds else 'floats'}, not {array!r}",
        )
    _say(
        bool(np.isfinite(found.mean).all()),
        f"mean is {found.mean}: a number that cannot be measured is capped and counted, never handed on as nan or inf",
    )
    _say(not (found.std_error < 0).any(), f"std_error is {found.std_error}: it is nan where unknown, never negative")
    _say(bool((found.seconds >= 0).all()), f"seconds is {found.seconds}: it is finite and never negative")


def _check_records(found: Measurement) -> None:
    records = found.records
    try:
        check_record_fields(records.dtype)
    except InvalidInputError as error:
        raise AssertionError(str(error)) from error
    if not len(records):
        return
    query = records["query"]
    _say(bool((np.diff(query) >= 0).all()), "records are ordered by their field query")
    told = np.unique(query).tolist()
    _say(told == list(range(len(found))), f"records name the queries {told}, not 0 to n−1")


def _check_price(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64], found: Measurement) -> None:
    price = oracle.price(X, seeds=seeds)
    _say(
        bool((found.size == price.size).all()),
        f"price announced a size of {price.size} {oracle.unit} a row, but the measurement took {found.size}",
    )
    _say(len(price.references) == len(X), "price names the shared references of every row")


def _check_independence(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64], found: Measurement) -> None:
    order = np.array([2, 0, 1])
    shuffled = oracle.measure(X[order], seeds=seeds[order])
    for place, i in enumerate(order):
        _say(
            _same(_row(shuffled, place), _row(found, int(i))),
            f"row {i} measured {shuffled.mean[place]!r} in another order, not {found.mean[i]!r}: "
            "a row's bits do not depend on the rows beside it",
        )
    alone = oracle.measure(X[1:2], seeds=seeds[1:2])
    _say(
        _same(alone, _row(found, 1)),
        f"row 1 measured {alone.mean[0]!r} alone, not {found.mean[1]!r}: a row's bits do not depend on its batch",
    )


def _check_seeds(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64], found: Measurement) -> None:
    if (found.std_error > 0).any():
        others = [oracle.measure(X[:1], seeds=[int(s)]).mean[0] for s in seeds[1:]]
        _say(
            any(other != found.mean[0] for other in others),
            f"row 0 measured {found.mean[0]} with three different seeds: the noise must follow from the seed",
        )


def _check_sizes(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64]) -> None:
    size = 2 * oracle.evaluation_size
    try:
        found = oracle.measure(X[:1], seeds=seeds[:1], size=size)
    except InvalidInputError:
        return  # a size that cannot be measured may be refused, but not in silence measured as another
    _check_shapes(found, 1)
    _check_records(found)
    _say(found.size[0] == size, f"asked for a size of {size}, the measurement says {found.size[0]}")


def _check_refusals(oracle: Oracle, X: NDArray[np.float64]) -> None:
    for j, column in enumerate(oracle.columns):
        values = [np.nan, column.high + 1.0]
        if column.scale == "ordinal" and column.high > column.low:
            values.append(column.low + 0.5)
        for value in values:
            bad = X[:1].copy()
            bad[0, j] = value
            _refused(lambda bad=bad: oracle.measure(bad, seeds=[0]), f"{column.name} = {value:g}")  # type: ignore[misc]
    _refused(lambda: oracle.measure(X[:1, :-1], seeds=[0]), "a query with a column missing")
    _refused(lambda: oracle.measure(X[:1], seeds=[-1]), "a negative seed")
    _refused(lambda: oracle.measure(X[:1], seeds=[0, 1]), "two seeds for one query")
    _refused(lambda: oracle.measure(X[:1], seeds=[0], size=0), "a size of zero")


def _refused(ask: Callable[[], object], what: str) -> None:
    try:
        ask()
    except InvalidInputError:
        return
    raise AssertionError(f"{what} was measured; it should raise InvalidInputError with one clear line")


_NUMBERS = tuple(f.name for f in fields(Measurement) if f.name != "records")


def _row(found: Measurement, i: int) -> Measurement:
    return found.take(np.arange(len(found)) == i)


def _same(a: Measurement, b: Measurement) -> bool:
    """Equal to the bit in everything but wall-clock."""
    numbers = all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in _NUMBERS if n != "seconds")
    return numbers and a.records.tobytes() == b.records.tobytes()
