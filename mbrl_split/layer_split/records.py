"""What a perplexity measurement keeps beside its mean: one record per text window and channel draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles import Measurement, Oracle, Price

WINDOW_DTYPE = np.dtype(
    [
        ("query", np.int64),  # row of X the window belongs to
        ("window", np.int64),  # index of the text window in the oracle's pool
        ("draw", np.int64),  # channel draw
        ("gain", np.float64),  # |h| of the draw; nan where the channel has no single gain
        ("nll", np.float64),  # capped NLL through the channel, nats/token
        ("clean_nll", np.float64),  # capped NLL of the same window without the channel, nats/token
        ("tokens", np.int64),  # scored tokens
    ]
)
"""One record per window and draw of a measurement."""


def check_window_records(oracle: Oracle, *, seed: int = 0) -> None:
    """Check the records of an oracle that reads text; takes ten true evaluations, outside any ledger.

    Args:
        oracle: One whose records have :data:`WINDOW_DTYPE`.
        seed: Fixes the queries.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    rng = np.random.default_rng(seed)
    X = np.column_stack([column.sample(3, rng) for column in oracle.columns])
    seeds = rng.integers(0, 2**31, size=3)
    found = oracle.measure(X, seeds=seeds)
    _check_sums(found)
    _check_price(oracle.price(X, seeds=seeds), found)
    _check_larger(oracle, X[:1], seeds[:1])
    _check_shared(oracle, X, seeds)


def _say(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


def _check_sums(found: Measurement) -> None:
    names, wanted = found.records.dtype.names, WINDOW_DTYPE.names
    _say(names == wanted, f"records have the fields {wanted}, not {names}")
    for i in range(len(found)):
        own = _of(found, i)
        _say(len(own) > 0, f"row {i} has no record")
        mean = np.average(own["nll"] - own["clean_nll"], weights=own["tokens"])
        _say(
            bool(np.isclose(mean, found.mean[i], rtol=1e-9, atol=1e-12)),
            f"row {i}: mean is {found.mean[i]}, but its windows' token-weighted NLL minus clean NLL is {mean}",
        )
        total = int(own["tokens"].sum())
        _say(total == found.size[i], f"row {i}: its windows score {total} tokens, but its size is {found.size[i]}")


def _check_price(price: Price, found: Measurement) -> None:
    for i, announced in enumerate(price.references):
        used = set(_of(found, i)["window"].tolist())
        # An oracle that needs no clean reference announces none.
        _say(
            price.reference_size == 0 or used == set(announced.tolist()),
            f"row {i}: price announced the text windows {sorted(announced.tolist())}, but {sorted(used)} were used",
        )


def _check_larger(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64]) -> None:
    size = 2 * oracle.evaluation_size
    try:
        found = oracle.measure(X, seeds=seeds, size=size)
    except InvalidInputError:
        return  # a size that cannot be measured may be refused
    _check_sums(found)
    _check_price(oracle.price(X, seeds=seeds, size=size), found)


def _check_shared(oracle: Oracle, X: NDArray[np.float64], seeds: NDArray[np.int64]) -> None:
    shared = oracle.measure(X, seeds=np.full(3, seeds[0]))
    first = _of(shared, 0)
    for i in (1, 2):
        own = _of(shared, i)
        _say(
            len(own) == len(first) and all((own[f] == first[f]).all() for f in ("window", "draw", "clean_nll")),
            "rows with equal seeds are measured on the same text windows, with the same clean NLL "
            "(common random numbers)",
        )
    others = oracle.measure(np.repeat(X[:1], 2, axis=0), seeds=seeds[1:])
    _say(
        bool((others.mean != shared.mean[0]).any()),
        f"row 0 measured {shared.mean[0]} with three different seeds: text and noise must follow from the seed",
    )


def _of(found: Measurement, row: int) -> NDArray[np.void]:
    return np.asarray(found.records[found.records["query"] == row])
