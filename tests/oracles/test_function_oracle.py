"""A function as an oracle, and the conformance suite that judges oracles."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles import FunctionOracle, Ledger, Measurement, check_oracle, open_store

COLUMNS = (Column("split", "layers", 1, 11, "ordinal"), Column("noise", "RMS", 0.1, 3.0, "log"))
X = np.array([[1, 0.5], [5, 1.0], [11, 3.0]])
KEY_OF_THE_FIRST_VERSION = "213b749b06a6c5231770b21a1c39099e04262ec97a8a7671b809b333eff607eb"


def f(X):
    return X[:, 1] * np.exp(-X[:, 0] / 4)


def test_values_are_the_function_bit_by_bit():
    found = FunctionOracle(f, COLUMNS).measure(X, seeds=[0, 1, 2])
    assert found.mean.tolist() == [f(row[None])[0] for row in X]
    assert found.std_error.tolist() == [0, 0, 0]


def test_noise_follows_from_the_seed_and_shrinks_with_the_size():
    noisy = FunctionOracle(f, COLUMNS, noise_std=0.2, seconds=0.5, evaluation_size=10, unit="throws")
    seeds = np.arange(4000)
    rows = np.repeat(X[:1], len(seeds), axis=0)
    errors = noisy.measure(rows, seeds=seeds).mean - f(X[:1])
    assert abs(errors.mean()) < 4 * 0.2 / np.sqrt(4000)
    assert errors.std() == pytest.approx(0.2, rel=0.06)
    large = noisy.measure(rows, seeds=seeds, size=40)
    assert (large.size == 40).all()
    assert large.std_error[0] == pytest.approx(0.1)
    assert (large.mean - f(X[:1])).std() == pytest.approx(0.1, rel=0.06)
    assert large.seconds[0] == pytest.approx(2.0)
    shared = noisy.measure(X, seeds=[7, 7, 7]).mean - f(X)
    assert np.allclose(shared, shared[0]), "equal seeds share their noise"
    np.testing.assert_array_equal(noisy.expected(X), f(X), "what is expected has no noise")


def test_a_function_that_cannot_be_used_is_named_in_one_line():
    with pytest.raises(InvalidInputError, match="nan for the query"):
        FunctionOracle(lambda X: X[:, 0] * np.nan, COLUMNS).measure(X, seeds=[0, 1, 2])
    with pytest.raises(InvalidInputError, match=r"shape \(\)"):
        FunctionOracle(lambda X: 1.0, COLUMNS).measure(X, seeds=[0, 1, 2])
    with pytest.raises(InvalidInputError, match="noise_std"):
        FunctionOracle(f, COLUMNS, noise_std=-1)
    with pytest.raises(InvalidInputError, match="evaluation_size is at least 1"):
        FunctionOracle(f, COLUMNS, evaluation_size=0)
    with pytest.raises(InvalidInputError, match="row 0: noise"):
        FunctionOracle(f, COLUMNS).measure([[1, -0.5]], seeds=[0])
    for size in (0, -1, 1.5, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="size is an integer of at least 1"):
            FunctionOracle(f, COLUMNS).measure(X, seeds=[0, 1, 2], size=size)


def test_a_key_is_that_of_the_first_version():
    """Then a question had two sizes, the second of which was 1: what was stored is still found."""
    oracle = FunctionOracle(f, COLUMNS, noise_std=0.25, identity="decay", evaluation_size=10)
    assert oracle.identity == "function decay noise 0.25"
    bits = "0000000000001440000000000000e03f"  # 5.0 and 0.5, little-endian
    question = json.dumps(["function decay noise 0.25", 1, bits, 3, 20, 1])
    assert oracle.key([5, 0.5], seed=3, size=20) == hashlib.sha256(question.encode()).hexdigest()
    assert oracle.key([5, 0.5], seed=3, size=20) == KEY_OF_THE_FIRST_VERSION
    store = open_store(":memory:")
    Ledger(oracle, store).measure([[5, 0.5]], seeds=[3], size=20)
    assert list(store) == [KEY_OF_THE_FIRST_VERSION]


def test_function_oracles_conform():
    check_oracle(FunctionOracle(f, COLUMNS))
    check_oracle(FunctionOracle(f, COLUMNS, noise_std=0.3, seconds=1, evaluation_size=64))


class Broken(FunctionOracle):
    """A sound oracle with one promise broken."""

    def __init__(self, spoil) -> None:
        super().__init__(f, COLUMNS, noise_std=0.1)
        self.spoil = spoil

    def measure(self, X, *, seeds, size=None) -> Measurement:
        found = super().measure(X, seeds=seeds, size=size)
        return self.spoil(found, np.asarray(seeds))


KEPT = np.dtype([("query", np.int64), ("throw", np.float64)])
COARSE = np.dtype([("query", np.int64), ("throw", np.float32)])


def records(n: int, dtype: np.dtype = KEPT) -> np.ndarray:
    """Two records of each query."""
    out = np.zeros(2 * n, dtype)
    out["query"], out["throw"] = np.repeat(np.arange(n), 2), 0.5
    return out


def test_an_oracle_may_keep_records_of_its_own():
    check_oracle(Broken(lambda m, s: replace(m, records=records(len(m)))))

    class Certain(FunctionOracle):
        """Records alone do not say that there is noise."""

        def measure(self, X, *, seeds, size=None) -> Measurement:
            found = super().measure(X, seeds=seeds, size=size)
            return replace(found, records=records(len(found)))

    check_oracle(Certain(f, COLUMNS))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda m, s: replace(m, mean=m.mean[:, None]), r"mean is an array of shape \(3,\)"),
        (lambda m, s: replace(m, mean=m.mean * np.nan), "never handed on as nan"),
        (lambda m, s: replace(m, size=m.size + 1), "price announced"),
        (lambda m, s: replace(m, size=m.size.astype(float)), "of integers"),
        (lambda m, s: replace(m, mean=m.mean + 1e-15 * np.arange(len(m))), "in another order"),
        (lambda m, s: replace(m, mean=m.mean + 1e-12 * len(m)), "alone"),
        (lambda m, s: replace(m, mean=np.ones(len(m))), "must follow from the seed"),
        (lambda m, s: replace(m, std_error=-m.std_error), "never negative"),
        (lambda m, s: replace(m, mean=0 * m.mean, records=records(len(m))), "must follow from the seed"),
        (lambda m, s: replace(m, records=records(len(m))[::-1]), "ordered"),
        (lambda m, s: replace(m, records=records(len(m))[:-2]), r"name the queries \[0, 1\], not 0 to n"),
        (lambda m, s: replace(m, records=records(len(m), COARSE)), "int64 or float64, and throw is float32"),
        (lambda m, s: replace(m, records=np.zeros(len(m), [("row", int)])), "a field query"),
    ],
)
def test_the_conformance_suite_finds(spoil, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_oracle(Broken(spoil))


def test_the_conformance_suite_finds_what_should_be_refused():
    class Lenient(FunctionOracle):
        def measure(self, X, *, seeds, size=None) -> Measurement:
            X = np.where(np.isnan(X), 1.0, X)
            return super().measure(X, seeds=seeds, size=size)

    with pytest.raises(AssertionError, match=r"split = nan was measured; it should raise InvalidInputError"):
        check_oracle(Lenient(f, COLUMNS))
