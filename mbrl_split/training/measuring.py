"""Paying for rows: as many as the budget allows, at the fidelity asked for, part by part where that saves truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mbrl_split.oracles import Ledger, Measurement
from mbrl_split.refresh import Fidelity

Array = NDArray[np.float64]


def n_affordable(ledger: Ledger, X: Array, seeds: NDArray[np.int64], fidelity: Fidelity) -> int:
    """The most rows, from the first on, whose next part the ledger can still pay for, shared references included."""
    low, high = 0, len(X)
    while low < high:
        n = (low + high + 1) // 2
        charge = ledger.charge_of(X[:n], seeds=seeds[:n], size=fidelity.size)
        # The same hair that the ledger forgives.
        low, high = (n, high) if charge <= ledger.remaining * (1 + 1e-12) else (low, n - 1)
    return low


def measure_parts(
    ledger: Ledger,
    X: Array,
    rng: np.random.Generator,
    fidelity: Fidelity,
    undecided: Callable[[Array], NDArray[np.bool_]],
    *,
    purpose: str = "train",
) -> Iterator[tuple[Array, Measurement]]:
    """Measure rows in the parts of a fidelity, and yield each part: its rows, shape (k, d), and what was found.

    Between two parts ``undecided`` is asked about the rows measured last, after the caller has had the chance to learn
    from them; only those go on. It ends where no row goes on, the parts are used up, or the budget allows no more.

    Args:
        ledger: Pays.
        X: Rows, (n, d).
        rng: Of the seeds, fresh ones for each part.
        fidelity: Size and number of the parts.
        undecided: Rows (k, d) → which of them deserve another part, (k,).
        purpose: For the ledger.
    """
    for part in range(fidelity.sequential_parts):
        if part:
            X = X[undecided(X)]
        seeds = rng.integers(0, 2**31, len(X))
        n = n_affordable(ledger, X, seeds, fidelity)
        if n == 0:
            return
        X = X[:n]
        yield X, ledger.measure(X, seeds=seeds[:n], size=fidelity.size, purpose=purpose)
