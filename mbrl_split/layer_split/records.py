"""What a perplexity measurement keeps beside its mean: one record per text window and channel draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_split.oracles import Measurement, Oracle

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
    """Check the records of an oracle that reads text; takes six true evaluations, outside any ledger.

    Args:
        oracle: One whose records have :data:`WINDOW_DTYPE`.
        seed: Fixes the queries.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    rng = np.random.default_rng(seed)
    X = np.column_stack([column.sample(3, rng) for column in oracle.columns])
    seeds = rng.integers(0, 2**31, size=3)
    price, found = oracle.price(X, seeds=seeds), oracle.measure(X, seeds=seeds)
    for i in range(3):
        own = _of(found, i)
        mean = np.average(own["nll"] - own["clean_nll"], weights=own["tokens"])
        assert np.isclose(mean, found.mean[i], rtol=1e-9, atol=1e-12), (
            f"row {i}: mean is {found.mean[i]}, but its windows' token-weighted NLL minus clean NLL is {mean}"
        )
        total = int(own["tokens"].sum())
        assert total == found.size[i], f"row {i}: its windows score {total} tokens, but its size is {found.size[i]}"
        announced, used = sorted(price.references[i].tolist()), sorted(set(own["window"].tolist()))
        # An oracle that needs no clean reference announces none.
        assert price.reference_size == 0 or used == announced, (
            f"row {i}: price announced the text windows {announced}, but {used} were used"
        )
    shared = oracle.measure(X, seeds=np.full(3, seeds[0]))
    first = _of(shared, 0)
    for i in (1, 2):
        own = _of(shared, i)
        same = len(own) == len(first) and all((own[f] == first[f]).all() for f in ("window", "draw", "clean_nll"))
        assert same, (
            "rows with equal seeds are measured on the same text windows, with the same clean NLL "
            "(common random numbers)"
        )


def _of(found: Measurement, row: int) -> NDArray[np.void]:
    return np.asarray(found.records[found.records["query"] == row])
