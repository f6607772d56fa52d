"""What a surrogate learns from rows of a ledger."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.surrogates import (
    EnsembleSurrogate,
    GPSurrogate,
    MLPSurrogate,
    RecalibratedSurrogate,
    TabulatedSurrogate,
)

COLUMNS = (Column("level", "1", 1, 6, "ordinal"), Column("load", "kW", 0.03, 3.0, "log"))


def queries(n, seed):
    rng = np.random.default_rng(seed)
    return np.column_stack([c.sample(n, rng) for c in COLUMNS])


@pytest.fixture(scope="module")
def rows():
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], COLUMNS, noise_std=0.1, evaluation_size=4))
    ledger.measure(queries(30, 0), seeds=np.arange(30))
    ledger.measure(queries(20, 1), seeds=np.arange(20), size=1, purpose="audit")
    return ledger.rows()


MODELS = {
    "gp": lambda: GPSurrogate(seed=1),
    "mlp": lambda: MLPSurrogate((8,), steps=20, seed=1),
    "ensemble": lambda: EnsembleSurrogate(members=2, hidden=(8,), steps=20, seed=1),
    "recalibrated": lambda: RecalibratedSurrogate(GPSurrogate(seed=1)),
    "tabulated": lambda: TabulatedSurrogate(GPSurrogate(seed=1), 9),
}


@pytest.mark.parametrize("name", MODELS)
def test_they_are_the_measurements_with_their_errors(rows, name):
    first, rest = rows.take(np.arange(50) < 35), rows.take(np.arange(50) >= 35)
    assert set(first.std_error) == {0.1, 0.2}  # a quarter of the size has twice the error
    fresh = queries(40, 2)
    hand, ours, unsure = (MODELS[name]() for _ in range(3))
    hand.fit(first.X, first.y, std_error=first.std_error, columns=COLUMNS)
    ours.fit_rows(first, columns=COLUMNS)
    unsure.fit(first.X, first.y, columns=COLUMNS)
    for part in ("mean", "std_epistemic", "std_aleatoric"):
        np.testing.assert_array_equal(getattr(ours.predict(fresh), part), getattr(hand.predict(fresh), part))
    assert not np.array_equal(ours.predict(fresh).std, unsure.predict(fresh).std)
    before = ours.predict(fresh).mean
    hand.update(rest.X, rest.y, std_error=rest.std_error)
    ours.update_rows(rest)
    np.testing.assert_array_equal(ours.predict(fresh).mean, hand.predict(fresh).mean)
    assert not np.array_equal(ours.predict(fresh).mean, before)


class Shifted(GPSurrogate):
    """Learns from rows in a way of its own: each target raised by one."""

    def fit_rows(self, rows, *, columns=None):
        return self.fit(rows.X, rows.y + 1, columns=columns)

    def update_rows(self, rows):
        return self.update(rows.X, rows.y + 1)


def test_a_table_leaves_it_to_what_is_under_it(rows):
    first, rest = rows.take(np.arange(50) < 35), rows.take(np.arange(50) >= 35)
    table, alone = TabulatedSurrogate(Shifted(seed=1), 9), Shifted(seed=1)
    for surrogate in (table, alone):
        surrogate.fit_rows(first, columns=COLUMNS).update_rows(rest)
    grid = np.array([[2, 0.03], [5, 3.0]])  # points of the table
    np.testing.assert_allclose(table.predict(grid).mean, alone.predict(grid).mean, atol=1e-12)
    plain, fresh = GPSurrogate(seed=1).fit_rows(rows, columns=COLUMNS), queries(40, 2)
    assert np.median(table.predict(fresh).mean - plain.predict(fresh).mean) == pytest.approx(1, abs=0.1)
    with pytest.raises(InvalidInputError, match="grid's range"):
        TabulatedSurrogate(Shifted(), 9).fit_rows(first)
    with pytest.raises(InvalidInputError, match="learned nothing"):
        TabulatedSurrogate(Shifted(), 9).update_rows(rest)
