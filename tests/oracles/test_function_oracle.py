"""A function as an oracle, and the conformance suite that judges oracles."""

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles import WINDOW_DTYPE, FunctionOracle, Measurement, check_oracle

COLUMNS = (Column("split", "layers", 1, 11, "ordinal"), Column("noise", "RMS", 0.1, 3.0, "log"))
X = np.array([[1, 0.5], [5, 1.0], [11, 3.0]])


def f(X):
    return X[:, 1] * np.exp(-X[:, 0] / 4)


def test_values_are_the_function_bit_by_bit():
    found = FunctionOracle(f, COLUMNS).measure(X, seeds=[0, 1, 2])
    assert found.mean.tolist() == [f(row[None])[0] for row in X]
    assert found.std_error.tolist() == [0, 0, 0]


def test_noise_follows_from_the_seed_and_shrinks_with_the_size():
    noisy = FunctionOracle(f, COLUMNS, noise_std=0.2, seconds=0.5, tokens_per_evaluation=10)
    seeds = np.arange(4000)
    rows = np.repeat(X[:1], len(seeds), axis=0)
    errors = noisy.measure(rows, seeds=seeds).mean - f(X[:1])
    assert abs(errors.mean()) < 4 * 0.2 / np.sqrt(4000)
    assert errors.std() == pytest.approx(0.2, rel=0.06)
    large = noisy.measure(rows, seeds=seeds, tokens=20, draws=2)
    assert large.std_error[0] == pytest.approx(0.1)
    assert (large.mean - f(X[:1])).std() == pytest.approx(0.1, rel=0.06)
    assert large.seconds[0] == pytest.approx(2.0)
    shared = noisy.measure(X, seeds=[7, 7, 7]).mean - f(X)
    assert np.allclose(shared, shared[0]), "equal seeds share their noise"


def test_a_function_that_cannot_be_used_is_named_in_one_line():
    with pytest.raises(InvalidInputError, match="nan for the query"):
        FunctionOracle(lambda X: X[:, 0] * np.nan, COLUMNS).measure(X, seeds=[0, 1, 2])
    with pytest.raises(InvalidInputError, match=r"shape \(\)"):
        FunctionOracle(lambda X: 1.0, COLUMNS).measure(X, seeds=[0, 1, 2])
    with pytest.raises(InvalidInputError, match="noise_std"):
        FunctionOracle(f, COLUMNS, noise_std=-1)
    with pytest.raises(InvalidInputError, match="row 0: noise"):
        FunctionOracle(f, COLUMNS).measure([[1, -0.5]], seeds=[0])


def test_function_oracles_conform():
    check_oracle(FunctionOracle(f, COLUMNS))
    check_oracle(FunctionOracle(f, COLUMNS, noise_std=0.3, seconds=1, tokens_per_evaluation=64))


class Broken(FunctionOracle):
    """A sound oracle with one promise broken."""

    def __init__(self, spoil) -> None:
        super().__init__(f, COLUMNS, noise_std=0.1)
        self.spoil = spoil

    def measure(self, X, *, seeds, tokens=None, draws=None) -> Measurement:
        found = super().measure(X, seeds=seeds, tokens=tokens, draws=draws)
        return self.spoil(found, np.asarray(seeds))


def replaced(found: Measurement, **changes) -> Measurement:
    from dataclasses import replace

    return replace(found, **changes)


def windows(n: int, seeds, *, shared: bool = True) -> np.ndarray:
    out = np.zeros(n, WINDOW_DTYPE)
    out["query"], out["tokens"] = np.arange(n), 1
    out["window"] = seeds % 5 if shared else np.arange(n)
    return out


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda m, s: replaced(m, mean=m.mean[:, None]), r"mean is an array of shape \(3,\)"),
        (lambda m, s: replaced(m, mean=m.mean * np.nan), "never handed on as nan"),
        (lambda m, s: replaced(m, n_tokens=m.n_tokens + 1), "price announced"),
        (lambda m, s: replaced(m, n_tokens=m.n_tokens.astype(float)), "of integers"),
        (lambda m, s: replaced(m, mean=m.mean + 1e-15 * np.arange(len(m))), "in another order"),
        (lambda m, s: replaced(m, mean=m.mean + 1e-12 * len(m)), "alone"),
        (lambda m, s: replaced(m, mean=np.ones(len(m))), "must follow from the seed"),
        (lambda m, s: replaced(m, std_error=-m.std_error), "never negative"),
        (lambda m, s: replaced(m, windows=windows(len(m), s)), "token-weighted"),
        (lambda m, s: replaced(m, mean=0 * m.mean, windows=windows(len(m), s)), "must follow from the seed"),
        (lambda m, s: replaced(m, windows=windows(len(m), s)[::-1]), "ordered"),
    ],
)
def test_the_conformance_suite_finds(spoil, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_oracle(Broken(spoil))


def test_the_conformance_suite_finds_what_should_be_refused():
    class Lenient(FunctionOracle):
        def measure(self, X, *, seeds, tokens=None, draws=None) -> Measurement:
            X = np.where(np.isnan(X), 1.0, X)
            return super().measure(X, seeds=seeds, tokens=tokens, draws=draws)

    with pytest.raises(AssertionError, match=r"split = nan was measured; it should raise InvalidInputError"):
        check_oracle(Lenient(f, COLUMNS))


def test_the_conformance_suite_finds_windows_that_are_not_shared():
    def own_windows(m: Measurement, seeds) -> Measurement:
        records = windows(len(m), seeds, shared=len(set(seeds.tolist())) == len(seeds))
        records["nll"] = m.mean
        return replaced(m, windows=records)

    with pytest.raises(AssertionError, match="common random numbers"):
        check_oracle(Broken(own_windows))
