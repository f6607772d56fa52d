"""The surrogate that learns on the instantaneous channel: an exact integral, and rows from the oracle's records."""

import numpy as np
import pytest
from scipy import special, stats

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split import FadingSurrogate, TableOracle, window_rows
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.surrogates import GPSurrogate, Prediction, Surrogate, TabulatedSurrogate, load_surrogate
from mbrl_split.surrogates.prediction import MASS, SCORES, QuantilePrediction

SPLIT, NOISE = Column("split", "layers", 1, 6, "ordinal"), Column("noise", "RMS", 0.03, 3.0, "log")
PLAIN = (SPLIT, NOISE, Column("m", "1", 0.5, 8.0, "log"))


class Known(Surrogate):
    """Answers by a function, to test wrappers against arithmetic."""

    def __init__(self, f, std=0.0, noise=0.1):
        self.f, self.std, self.noise = f, std, noise

    def fit(self, X, y, *, std_error=None, groups=None, columns=None):
        self.columns, self.seen = columns, np.asarray(X)
        return self

    def update(self, X, y, *, std_error=None, groups=None):
        return self

    def predict(self, X):
        mean = self.f(np.asarray(X))
        return Prediction(mean, np.full(len(mean), self.std), np.full(len(mean), self.noise))

    def sample(self, X, n, rng):
        return self.f(np.asarray(X)) + self.std * rng.standard_normal((n, 1))

    def clone(self, *, seed=None):
        return Known(self.f, self.std, self.noise)

    def save(self, path):
        raise InvalidInputError("a test double is not saved")

    @classmethod
    def load(cls, path, *, device="cpu"):
        raise UnsupportedError("a test double is not saved")


def queries(n, columns, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack([c.sample(n, rng) for c in columns])


def curve(split, ratio):
    return 4 * ratio**2 / (ratio**2 + split**2)


def damage(X, n=200_000, seed=0):
    """Monte Carlo reference: mean, standard deviation and 90 % interval of the mean of eight windows."""
    rng = np.random.default_rng(seed)
    gain = np.sqrt(rng.gamma(X[2], 1 / X[2], (n // 8, 8)))
    y = (curve(X[0], X[1] / gain) + 0.1 * rng.standard_normal((n // 8, 8))).mean(axis=1)
    return y.mean(), y.std(), np.quantile(y, [0.05, 0.95])


@pytest.mark.parametrize("query", [(2, 0.5, 0.5), (1, 0.1, 1.0), (4, 2.0, 1.0), (6, 3.0, 8.0)])
def test_a_known_curve_is_integrated_over_the_fading(query):
    inner = Known(lambda X: curve(X[:, 0], X[:, 1]), noise=0.1)
    rows = np.column_stack([queries(20, PLAIN), np.ones(20)])
    p = FadingSurrogate(inner, knots=96).fit(rows, np.ones(20), columns=PLAIN).predict([query])
    mean, std, (low, high) = damage(query)
    assert p.mean[0] == pytest.approx(mean, abs=0.01)
    assert p.std_aleatoric[0] == pytest.approx(std, rel=0.05)
    assert p.quantile(0.05)[0] == pytest.approx(low, abs=0.12 * std)
    assert p.quantile(0.95)[0] == pytest.approx(high, abs=0.2 * std)


def test_the_skewness_of_the_windows_noise_shows_in_their_mean():
    skewed = Known(lambda X: np.full(len(X), 5.0))
    knots = stats.expon.ppf(special.ndtr(SCORES))[:, None] + 4  # mean 5, standard deviation 1, skewness 2
    skewed.predict = lambda X: QuantilePrediction(
        np.full(len(X), 5.0), np.zeros(len(X)), np.ones(len(X)), lambda: knots + np.zeros(len(X))
    )
    rows = np.column_stack([queries(20, PLAIN[:2]), np.ones(20)])
    for windows in (1, 8):
        p = FadingSurrogate(skewed, windows=windows).fit(rows, np.ones(20), columns=PLAIN[:2]).predict([[2, 0.5]])
        truth = stats.gamma(windows, loc=4, scale=1 / windows)
        cubes = [MASS @ (values - 5) ** 3 for values in (p.knots[:, 0], truth.ppf(special.ndtr(SCORES)))]
        assert cubes[0] == pytest.approx(cubes[1], rel=0.07)
        assert p.quantile(0.95)[0] == pytest.approx(truth.ppf(0.95), abs=0.05)
        assert (p.mean[0], p.std_aleatoric[0]) == pytest.approx((5.0, 1 / np.sqrt(windows)))


def test_a_curve_without_noise_has_no_skewness_either():
    inner = Known(lambda X: curve(X[:, 0], X[:, 1]), noise=0.0)
    p = FadingSurrogate(inner).fit(np.column_stack([queries(20, PLAIN), np.ones(20)]), np.ones(20), columns=PLAIN)
    found = p.predict([[2, 0.5, 1.0]])
    assert np.isfinite([found.mean[0], found.std[0], *found.interval(0.9)[0]]).all()


def test_the_inner_surrogate_sees_ratios():
    inner = Known(lambda X: X[:, 1])
    X = np.array([[2, 0.6, 1.0, 0.5], [3, 0.1, 2.0, 2.0]])
    FadingSurrogate(inner).fit(X, [1.0, 2.0], columns=PLAIN)
    np.testing.assert_allclose(inner.seen, [[2, 1.2], [3, 0.05]])
    assert [c.name for c in inner.columns] == ["split", "ratio"]
    with pytest.raises(InvalidInputError, match="single windows"):
        FadingSurrogate(inner).fit(X[:, :3], [1.0, 2.0], columns=PLAIN)
    with pytest.raises(InvalidInputError, match="split, noise and m"):
        FadingSurrogate(inner).fit(X, [1.0, 2.0], columns=(NOISE, SPLIT, PLAIN[2]))


def test_gains_that_fade_by_no_known_law_are_refused():
    inner, still = Known(lambda X: curve(X[:, 0], X[:, 1])), queries(20, PLAIN[:2])
    plain = FadingSurrogate(inner).fit(np.column_stack([still, np.ones(20)]), np.ones(20), columns=PLAIN[:2])
    assert plain.predict([[2, 0.5]]).mean[0] == pytest.approx(curve(2, 0.5), abs=0.01)
    faded = np.column_stack([still, np.sqrt(np.random.default_rng(1).exponential(size=20))])
    for learn in (plain.update, lambda X, y: FadingSurrogate(inner).fit(X, y, columns=PLAIN[:2])):
        with pytest.raises(InvalidInputError, match="a column m that says how it fades"):
            learn(faded, np.ones(20))
    # Rayleigh fading, said as the message says it.
    rayleigh = (*PLAIN[:2], Column("m", "1", 1.0, 1.0, "log"))
    rows = np.column_stack([still, np.ones(20), faded[:, -1]])
    p = FadingSurrogate(inner, knots=96).fit(rows, np.ones(20), columns=rayleigh).predict([[2, 0.5, 1.0]])
    assert p.mean[0] == pytest.approx(damage((2, 0.5, 1.0))[0], abs=0.01)


def simulate(X, rng):
    n = len(X)
    gain = np.sqrt(rng.gamma(X[:, 2:], 1 / X[:, 2:], (n, 8)))
    y = curve(X[:, :1], X[:, 1:2] / gain)
    windows = np.zeros(8 * n, dtype=[("query", "i8"), ("gain", "f8"), ("nll", "f8"), ("clean_nll", "f8")])
    windows["query"], windows["gain"] = np.repeat(np.arange(n), 8), gain.ravel()
    windows["clean_nll"] = 3.0
    windows["nll"] = 3.0 + (y + (0.02 + 0.2 * y) * rng.standard_normal((n, 8))).ravel()
    return windows


def test_structure_needs_fewer_measurements_and_covers_fresh_ones(tmp_path):
    rng = np.random.default_rng(0)
    X, fresh = queries(60, PLAIN), queries(500, PLAIN, seed=1)
    windows = simulate(X, rng)
    rows, y, groups = window_rows(X, windows)
    structured = FadingSurrogate(GPSurrogate()).fit(rows, y, groups=groups, columns=PLAIN)
    plain = GPSurrogate().fit(X, y.reshape(-1, 8).mean(axis=1), columns=PLAIN)
    truth = np.array([damage(q, 40_000)[0] for q in fresh])
    error = [np.sqrt(np.mean((s.predict(fresh).mean - truth) ** 2)) for s in (structured, plain)]
    assert error[0] < 0.6 * error[1]
    seen = simulate(fresh, rng)
    target = (seen["nll"] - seen["clean_nll"]).reshape(-1, 8).mean(axis=1)
    assert 0.83 < structured.score(fresh, target)["coverage_90"] < 0.96
    draws = structured.sample(fresh[:20], 3000, rng)
    p = structured.predict(fresh[:20])
    np.testing.assert_allclose(draws.mean(axis=0), p.mean, atol=0.1 * p.std_epistemic.max())
    np.testing.assert_allclose(draws.std(axis=0), p.std_epistemic, rtol=0.15)
    table = TabulatedSurrogate(structured, 17)
    table.save(tmp_path / "s")
    again = load_surrogate(tmp_path / "s")
    np.testing.assert_array_equal(again.predict(fresh).quantile(0.2), table.predict(fresh).quantile(0.2))
    again.update(rows, y, groups=groups)


def test_rows_of_a_ledger_are_learnt_window_by_window():
    """In a table too: what is under it decides what it learns from."""
    oracle = TableOracle.load("tiny-llama", "equalised")
    ledger = Ledger(oracle)
    X, fresh = queries(40, oracle.columns), queries(50, oracle.columns, seed=1)
    ledger.measure(X, seeds=np.arange(40))
    rows = ledger.rows()
    first, rest = rows.take(np.arange(40) < 25), rows.take(np.arange(40) >= 25)

    def by_hand(X, records):
        learned, y, groups = window_rows(X, records)
        assert len(y) == 8 * len(X)
        return {"X": learned, "y": y, "groups": groups}

    hand, ours = FadingSurrogate(GPSurrogate(seed=3)), FadingSurrogate(GPSurrogate(seed=3))
    table = TabulatedSurrogate(FadingSurrogate(GPSurrogate(seed=3)), 9)
    hand.fit(**by_hand(first.X, first.records), columns=oracle.columns)
    for surrogate in (ours, table):
        surrogate.fit_rows(first, columns=oracle.columns)
    np.testing.assert_array_equal(ours.predict(fresh).mean, hand.predict(fresh).mean)
    hand.update(**by_hand(rest.X, rest.records))
    for surrogate in (ours, table):
        surrogate.update_rows(rest)
    np.testing.assert_array_equal(ours.predict(fresh).mean, hand.predict(fresh).mean)
    np.testing.assert_array_equal(table.predict(fresh).mean, TabulatedSurrogate(hand, 9).predict(fresh).mean)


def test_records_of_something_else_are_refused():
    columns = (Column("split", "1", 1, 11, "ordinal"), Column("noise", "1", 0.1, 1.0, "log"))
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], columns))
    ledger.measure([[4, 0.5], [5, 0.2]], seeds=[0, 1])
    with pytest.raises(InvalidInputError, match="records have no gain, nll, clean_nll"):
        FadingSurrogate(GPSurrogate()).fit_rows(ledger.rows(), columns=columns)
