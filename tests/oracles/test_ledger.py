"""The ledger counts to the unit, never overspends, and continues where it stopped."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_split.columns import Column
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError, UnsupportedError
from mbrl_split.oracles import FunctionOracle, Ledger, Measurement, Price, open_store
from mbrl_split.oracles.record import encode

COLUMNS = (Column("split", "layers", 1, 11, "ordinal"), Column("noise", "RMS", 0.1, 3.0, "log"))
POOL, WINDOWS, WINDOW = 10, 3, 7


class Reader(FunctionOracle):
    """A function whose rows share references: it reads windows of a text, each of which is also read clean, once."""

    def __init__(self, **changes) -> None:
        super().__init__(
            lambda X: X[:, 1] / X[:, 0],
            COLUMNS,
            noise_std=0.1,
            seconds=0.5,
            identity="reader",
            evaluation_size=WINDOWS * WINDOW,
            unit="words",
            **changes,
        )
        self.asked: list[tuple[float, ...]] = []

    def price(self, X, *, seeds, size=None) -> Price:
        plain = super().price(X, seeds=seeds, size=size)
        read = min(plain.size // WINDOW, POOL)  # what is larger reads the whole text again
        windows = tuple(np.random.default_rng(int(s)).choice(POOL, read, replace=False) for s in seeds)
        return Price(plain.size, windows, WINDOW)

    def measure(self, X, *, seeds, size=None) -> Measurement:
        self.asked += [tuple(row) for row in np.asarray(X)]
        return super().measure(X, seeds=seeds, size=size)


def test_the_charge_is_the_size_plus_each_new_window_once():
    oracle = Reader()
    ledger = Ledger(oracle)
    used = [
        set(oracle.price([[1, 1.0]], seeds=[s], size=size).references[0].tolist()) for s, size in ((0, 21), (1, 105))
    ]
    ledger.measure([[1, 1.0]], seeds=[0])
    assert ledger.spent == 1 + 3 * 7 / 21
    ledger.measure([[2, 2.0]], seeds=[0])
    assert ledger.spent == 3, "the same windows again are free"
    ledger.measure([[3, 2.0]], seeds=[1], size=5 * 21)
    new = len(used[1] - used[0])
    assert ledger.spent == pytest.approx(3 + 5 + new / 3)
    assert 0 < new < len(used[1])
    assert np.allclose(ledger.entries.charge, [2, 1, 5 + new / 3])
    assert ledger.entries.charge.sum() == pytest.approx(ledger.spent)
    assert ledger.seconds == pytest.approx(0.5 * 7)


def test_the_charge_knows_nothing_of_the_store(tmp_path):
    store = open_store(tmp_path / "s.sqlite")
    X, seeds = [[1, 1.0], [2, 1.0], [1, 1.0]], [0, 1, 0]
    oracle = Reader()
    first, second, without = Ledger(oracle, store), Ledger(oracle, store), Ledger(oracle)
    a, b, c = (ledger.measure(X, seeds=seeds) for ledger in (first, second, without))
    assert first.spent == second.spent == without.spent
    assert first.seconds == second.seconds == without.seconds
    assert encode(a) == encode(b) == encode(c)
    assert len(store) == 2
    assert oracle.asked == [(1, 1.0), (2, 1.0), *((x, y) for x, y in X)], "stored rows are never measured again"


def test_a_call_that_does_not_fit_costs_nothing():
    oracle = Reader()
    ledger = Ledger(oracle, open_store(":memory:"), budget=3)
    ledger.measure([[1, 1.0]], seeds=[0])
    asked = ledger.charge_of([[1, 1.0]] * 2, seeds=[0, 1])
    assert asked > 1
    before = json.dumps(ledger.state_dict())
    with pytest.raises(BudgetExhaustedError, match=f"costs {asked:g} true evaluations, but only 1 of the budget of 3"):
        ledger.measure([[1, 1.0]] * 2, seeds=[0, 1])
    assert json.dumps(ledger.state_dict()) == before
    assert oracle.asked == [(1, 1.0)]
    ledger.measure([[2, 1.0]], seeds=[0])
    assert ledger.remaining == 0
    assert ledger.spent == ledger.budget, "a budget can be spent to the last evaluation"


def test_bad_input_costs_nothing():
    oracle = Reader()
    ledger = Ledger(oracle)
    for X, seeds in (([[0, 1.0]], [0]), ([[1, np.nan]], [0]), ([[1, 1.0]], [-1]), ([[1, 1.0]], [0, 1]), ([1.0], [0])):
        with pytest.raises(InvalidInputError):
            ledger.measure(X, seeds=seeds)
    with pytest.raises(InvalidInputError):
        ledger.measure([[1, 1.0]], seeds=[0], size=0)
    assert ledger.spent == 0
    assert oracle.asked == []
    with pytest.raises(InvalidInputError, match="budget"):
        Ledger(oracle, budget=-1)
    with pytest.raises(InvalidInputError, match="budget"):
        Ledger(oracle, budget=float("nan"))


def test_an_anonymous_function_is_not_kept_where_others_would_find_it():
    nameless = FunctionOracle(lambda X: X[:, 0], COLUMNS)
    assert Ledger(nameless).measure([[3, 1.0]], seeds=[0]).mean == [3.0]
    with pytest.raises(InvalidInputError, match="identity"):
        Ledger(nameless, open_store(":memory:"))


CALLS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 11), st.integers(0, 6)), min_size=0, max_size=4),
        st.sampled_from([None, WINDOW, 2 * WINDOW, 5 * WINDOW, 15 * WINDOW]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(calls=CALLS, budget=st.floats(0, 30) | st.sampled_from([1 / 3, 0.1 + 0.2, 4 / 3, 7.0]), kept=st.booleans())
def test_overspending_is_impossible(calls, budget, kept):
    oracle = Reader()
    ledger = Ledger(oracle, open_store(":memory:") if kept else None, budget)
    seen: set[int] = set()
    spent = Fraction(0)
    for rows, size in calls:
        X, seeds = np.array([(p, 1.0) for p, _ in rows]).reshape(-1, 2), np.array([s for _, s in rows], int)
        # An independent account in exact fractions.
        price = oracle.price(X, seeds=seeds, size=size)
        news = set().union(*(set(r.tolist()) for r in price.references)) - seen if rows else set()
        cost = Fraction(len(rows) * price.size + len(news) * WINDOW, WINDOWS * WINDOW)
        try:
            ledger.measure(X, seeds=seeds, size=size)
            spent, seen = spent + cost, seen | news
        except BudgetExhaustedError:
            assert spent + cost > Fraction(budget) - Fraction(1, 10**9), "refused although it fits"
        assert ledger.spent == float(spent)
        assert spent <= Fraction(budget) * (1 + Fraction(1, 10**11))
        assert ledger.remaining >= 0


def test_rows_by_purpose():
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1], COLUMNS))
    ledger.measure([[1, 1.0], [2, 2.0]], seeds=[5, 6])
    ledger.measure([[3, 3.0]], seeds=[7], purpose="audit")
    assert ledger.rows("train").y.tolist() == [1, 2]
    assert ledger.rows(["audit"]).X.tolist() == [[3, 3.0]]
    assert ledger.rows().seeds.tolist() == [5, 6, 7]
    assert ledger.rows("nothing").X.shape == (0, 2)
    assert ledger.entries.purpose.tolist() == ["train", "train", "audit"]
    assert len(ledger.entries) == 3


@pytest.mark.parametrize("kept", [True, False])
def test_resumed_equals_uninterrupted(kept):
    calls = [([[1, 1.0], [2, 0.5]], [0, 1], "train"), ([[3, 0.25]], [2], "audit"), ([[4, 1.0]], [0], "train")]

    def fresh() -> Ledger:
        return Ledger(Reader(), open_store(":memory:") if kept else None, budget=8)

    whole, ledger = fresh(), fresh()
    for X, seeds, purpose in calls:
        whole.measure(X, seeds=seeds, purpose=purpose)
        ledger.measure(X, seeds=seeds, purpose=purpose)
        text = json.dumps(ledger.state_dict(), allow_nan=False)
        ledger = fresh()
        ledger.load_state_dict(json.loads(text))
    assert ledger.state_dict() == whole.state_dict()
    assert ledger.spent == whole.spent
    assert ledger.seconds == whole.seconds
    with pytest.raises(InvalidInputError, match="reader"):
        Ledger(FunctionOracle(lambda X: X[:, 0], COLUMNS)).load_state_dict(whole.state_dict())


def test_what_was_finished_before_an_interruption_is_kept_and_charged():
    def f(X):
        if X[0, 0] == 3:
            raise KeyboardInterrupt
        return X[:, 0]

    store = open_store(":memory:")
    ledger = Ledger(FunctionOracle(f, COLUMNS, identity="stops"), store)
    done = []
    ledger.progress = lambda i, n: done.append((i, n))
    with pytest.raises(KeyboardInterrupt):
        ledger.measure([[1, 1.0], [2, 1.0], [3, 1.0], [4, 1.0]], seeds=[0, 0, 0, 0])
    assert len(store) == 2
    assert ledger.spent == 2
    assert done == [(1, 4), (2, 4)]


def test_what_no_oracle_measures_is_charged_and_capped():
    ledger = Ledger(budget=7)
    ledger.charge(4)
    ledger.charge(0, "audit")
    ledger.charge(2, "audit")
    assert (ledger.spent, ledger.remaining) == (6, 1)
    assert ledger.charged == {"train": 4, "audit": 2}
    with pytest.raises(BudgetExhaustedError, match="costs 2 true evaluations, but only 1 of the budget of 7"):
        ledger.charge(2)
    for n in (-1, 0.5, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="a charge is a whole number of at least 0"):
            ledger.charge(n)
    assert ledger.charged == {"train": 4, "audit": 2}, "what was refused costs nothing"
    ledger.charged["train"] = 0
    assert ledger.charged["train"] == 4, "the account is a copy"
    ledger.charge(1)
    assert ledger.remaining == 0
    assert len(ledger.entries) == 0, "a charge is no row to learn from"


def test_charges_and_measurements_share_one_budget():
    ledger = Ledger(Reader(), budget=5)
    ledger.measure([[1, 1.0]], seeds=[0])
    assert ledger.spent == 2
    ledger.charge(2, "steps")
    assert ledger.spent == 4
    assert ledger.charged == {"steps": 2}, "what was measured stands in the rows"
    with pytest.raises(BudgetExhaustedError, match="only 1 of the budget of 5"):
        ledger.charge(2, "steps")
    ledger.measure([[2, 1.0]], seeds=[0])
    assert ledger.remaining == 0
    with pytest.raises(BudgetExhaustedError):
        ledger.measure([[3, 1.0]], seeds=[0])


@pytest.mark.parametrize("make", [lambda: Ledger(budget=9), lambda: Ledger(Reader(), budget=9)])
def test_a_resumed_ledger_goes_on_with_its_charges(make):
    ledger = make()
    ledger.charge(3)
    ledger.charge(4, "audit")
    state = json.loads(json.dumps(ledger.state_dict(), allow_nan=False))
    again = make()
    again.charge(9)  # what it held before is gone
    again.load_state_dict(state)
    assert (again.spent, again.remaining, again.charged) == (7, 2, {"train": 3, "audit": 4})
    assert again.state_dict() == ledger.state_dict()
    with pytest.raises(BudgetExhaustedError):
        again.charge(3)
    again.charge(2)
    assert again.charged == {"train": 5, "audit": 4}
    assert ledger.charged == {"train": 3, "audit": 4}, "nothing is shared with the ledger it came from"


def test_a_ledger_without_an_oracle_measures_nothing():
    ledger = Ledger(budget=3)
    for ask in (ledger.measure, ledger.charge_of):
        with pytest.raises(UnsupportedError, match="no oracle: it counts real steps"):
            ask([[1.0]], seeds=[0])
    assert ledger.spent == 0
    with pytest.raises(InvalidInputError, match="identity"):
        Ledger(store=open_store(":memory:"))
    with pytest.raises(InvalidInputError, match="state is of oracle 'function reader"):
        ledger.load_state_dict(Ledger(Reader()).state_dict())


class Keeper(FunctionOracle):
    """Keeps two records of its own beside each mean."""

    def measure(self, X, *, seeds, size=None) -> Measurement:
        found = super().measure(X, seeds=seeds, size=size)
        records = np.zeros(2 * len(found), [("query", np.int64), ("throw", np.float64)])
        records["query"] = np.repeat(np.arange(len(found)), 2)
        records["throw"] = np.repeat(found.mean, 2) + np.tile([-1, 1], len(found))
        return replace(found, records=records)


@pytest.mark.parametrize("kept", [True, False])
def test_records_stay_with_their_rows(kept):
    def fresh() -> Ledger:
        return Ledger(Keeper(lambda X: X[:, 1], COLUMNS, identity="keeper"), open_store(":memory:") if kept else None)

    ledger = fresh()
    assert len(ledger.rows().records) == 0
    ledger.measure([[1, 1.0], [2, 2.0]], seeds=[5, 6])
    ledger.measure([[3, 3.0]], seeds=[7], purpose="audit")
    again = fresh()
    again.load_state_dict(json.loads(json.dumps(ledger.state_dict())))
    for one in (ledger, again):
        assert one.rows().records["query"].tolist() == [0, 0, 1, 1, 2, 2]
        assert one.rows().records["throw"].tolist() == [0, 2, 1, 3, 2, 4]
        audit = one.rows("audit").records
        assert audit["query"].tolist() == [0, 0], "counted anew"
        assert audit["throw"].tolist() == [2, 4]
