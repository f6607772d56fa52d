"""A conformance suite for oracles: run it on your own class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import BadInput
from mbrl_split.oracles.base import Measurement, Oracle


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
    _check_windows(found)
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
    size = oracle.tokens_per_evaluation
    _say(isinstance(size, int) and size >= 1, f"tokens_per_evaluation is an integer of at least 1, not {size!r}")


def _check_shapes(found: Measurement, n: int) -> None:
    kinds = {"n_tokens": "i", "n_draws": "i", "n_capped": "i"}
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


def _check_windows(found: Measurement) -> None:
    windows = found.windows
    if not len(windows):
        return
    query = windows["query"]
    _say(bool((np.diff(query) >= 0).all()), "windows are ordered by their field query")
    _say(set(query) == set(range(len(found))), f"windows name the queries {sorted(set(query))}, not 0 to n−1")
    for i in range(len(found)):
        own = windows[query == i]
        mean = np.average(own["nll"] - own["clean_nll"], weights=own["tokens"])
        _say(
            bool(np.isclose(mean, found.mean[i], rtol=1e-9, atol=1e-12)),
            f"row {i}: mean is {found.mean[i]}, but its windows' token-weighted NLL minus clean NLL is {mean}",
        )
        total, said = int(own["tokens"].sum()), int(found.n_tokens[i] * found.n_draws[i])
        _say(total == said, f"row {i}: its windows score {total} tokens, but n_tokens·n_draws is {said}")


def _check_price(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64], found: Measurement) -> None:
    price = oracle.price(X, seeds=seeds)
    _say(
        bool((found.n_tokens == price.n_tokens).all() and (found.n_draws == price.n_draws).all()),
        f"price announced {price.n_tokens} tokens and {price.n_draws} draws a row, but the measurement "
        f"took {found.n_tokens} and {found.n_draws}",
    )
    _say(len(price.references) == len(X), "price names the text windows of every row")
    if len(found.windows):
        for i, announced in enumerate(price.references):
            used = set(found.windows["window"][found.windows["query"] == i].tolist())
            # An oracle that needs no clean reference announces none.
            _say(
                price.reference_tokens == 0 or used == set(announced.tolist()),
                f"row {i}: price announced the text windows {sorted(announced.tolist())}, but {sorted(used)} were used",
            )


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
    noisy = len(found.windows) > 0 or bool((found.std_error > 0).any())
    if noisy:
        others = [oracle.measure(X[:1], seeds=[int(s)]).mean[0] for s in seeds[1:]]
        _say(
            any(other != found.mean[0] for other in others),
            f"row 0 measured {found.mean[0]} with three different seeds: the noise must follow from the seed",
        )
    if len(found.windows):
        shared = oracle.measure(X, seeds=np.full(3, seeds[0]))
        first = shared.windows[shared.windows["query"] == 0]
        for i in (1, 2):
            own = shared.windows[shared.windows["query"] == i]
            _say(
                len(own) == len(first) and all((own[f] == first[f]).all() for f in ("window", "draw", "clean_nll")),
                "rows with equal seeds are measured on the same text windows, with the same clean NLL "
                "(common random numbers)",
            )


def _check_sizes(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64]) -> None:
    size = oracle.tokens_per_evaluation
    for tokens, draws in ((2 * size, 1), (size, 2)):
        try:
            found = oracle.measure(X[:1], seeds=seeds[:1], tokens=tokens, draws=draws)
        except BadInput:
            continue  # a size that cannot be measured may be refused, but not in silence measured as another
        _check_shapes(found, 1)
        _check_windows(found)
        _say(
            found.n_tokens[0] == tokens and found.n_draws[0] == draws,
            f"asked for {tokens} tokens and {draws} draws, the measurement "
            f"says {found.n_tokens[0]} and {found.n_draws[0]}",
        )


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
    _refused(lambda: oracle.measure(X[:1], seeds=[0], tokens=0), "zero tokens")
    _refused(lambda: oracle.measure(X[:1], seeds=[0], draws=0), "zero draws")


def _refused(ask: Callable[[], object], what: str) -> None:
    try:
        ask()
    except BadInput:
        return
    raise AssertionError(f"{what} was measured; it should raise BadInput with one clear line")


_NUMBERS = tuple(f.name for f in fields(Measurement) if f.name != "windows")


def _row(found: Measurement, i: int) -> Measurement:
    return found.take(np.arange(len(found)) == i)


def _same(a: Measurement, b: Measurement) -> bool:
    """Equal to the bit in everything but wall-clock."""
    numbers = all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in _NUMBERS if n != "seconds")
    return numbers and a.windows.tobytes() == b.windows.tobytes()
