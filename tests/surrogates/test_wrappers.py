"""Tabulated, recalibrated and fading surrogates."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import special, stats

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split import FadingSurrogate, window_rows
from mbrl_split.surrogates import (
    GPSurrogate,
    MLPSurrogate,
    Prediction,
    RecalibratedSurrogate,
    Surrogate,
    TabulatedSurrogate,
    load_surrogate,
)
from mbrl_split.surrogates.quantiles import SCORES, KnotPrediction

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


def test_a_table_is_exact_for_what_is_linear_along_the_scales():
    inner = Known(lambda X: X[:, 0] ** 2 + 2 * np.log(X[:, 1]) - np.log(X[:, 2]) * np.log(X[:, 1]), std=0.5)
    table = TabulatedSurrogate(inner, {"noise": 5}).fit(np.ones((1, 3)), np.ones(1), columns=PLAIN)
    X = np.concatenate([queries(200, PLAIN), [[1, 0.03, 0.5], [6, 3.0, 8.0]]])
    p = table.predict(X)
    np.testing.assert_allclose(p.mean, inner.f(X), atol=1e-10)
    np.testing.assert_allclose(p.std_epistemic, 0.5)
    np.testing.assert_allclose(p.quantile(0.9), inner.predict(X).quantile(0.9), atol=0.01)
    for i in (0, 57):  # a row alone and among others
        np.testing.assert_array_equal(table.predict(X[i : i + 1]).mean, p.mean[i : i + 1])


def test_a_table_follows_its_surrogate_and_can_be_made_monotone():
    X = queries(80, (SPLIT, NOISE))
    y = np.sin(3 * np.log(X[:, 1]))
    table = TabulatedSurrogate(GPSurrogate(), 33, increasing=["noise"]).fit(X, y, columns=(SPLIT, NOISE))
    line = np.column_stack([np.full(200, 3.0), np.geomspace(0.03, 3.0, 200)])
    assert (np.diff(table.predict(line).mean) >= -1e-12).all()
    before = table.predict(line).mean
    table.update(X, y + 5)
    assert np.mean(table.predict(line).mean - before) > 1
    with pytest.raises(InvalidInputError, match="columns"):
        TabulatedSurrogate(GPSurrogate()).fit(X, y)
    with pytest.raises(InvalidInputError, match="is not an integer in"):
        table.predict([[1.5, 0.1]])


def test_recalibration_corrects_what_was_overconfident_and_leaves_alone_what_was_not():
    rng = np.random.default_rng(0)
    X = rng.random((3000, 1))
    y = rng.exponential(size=3000) - 1  # a skewed law of mean 0 and standard deviation 1
    for noise, changed in ((0.3, True), (1.0, False)):
        inner = Known(lambda X: np.zeros(len(X)), std=0.1, noise=noise)
        p = RecalibratedSurrogate(inner).recalibrate(X[:1500], y[:1500]).predict(X[1500:])
        low, high = p.interval(0.9)
        assert np.mean((low <= y[1500:]) & (y[1500:] <= high)) == pytest.approx(0.9, abs=0.03)
        assert p.std.mean() == pytest.approx(1.0, abs=0.15)
        assert (p.std_epistemic[0] > 0.2) == changed
        assert abs(p.mean[0]) < 0.1
        assert p.quantile(0.05)[0] == pytest.approx(stats.expon.ppf(0.05) - 1, abs=0.15)
    before = inner.predict(X[:1]).interval(0.9)[0][0]
    assert before < -1.5  # the symmetric law it came from reached where no target ever is


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
    skewed.predict = lambda X: KnotPrediction(
        np.full(len(X), 5.0), np.zeros(len(X)), np.ones(len(X)), values=knots + np.zeros(len(X))
    )
    rows = np.column_stack([queries(20, PLAIN[:2]), np.ones(20)])
    for windows in (1, 8):
        p = FadingSurrogate(skewed, windows=windows).fit(rows, np.ones(20), columns=PLAIN[:2]).predict([[2, 0.5]])
        assert p.skewness[0] == pytest.approx(2 / np.sqrt(windows), rel=0.07)
        truth = stats.gamma(windows, loc=4, scale=1 / windows)
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


def test_a_wrapper_refuses_an_inner_surrogate_that_is_not_its_own(tmp_path):
    X = queries(30, (SPLIT, NOISE))
    for seed in (0, 1):
        table = TabulatedSurrogate(MLPSurrogate((8,), steps=5, seed=seed), 3)
        table.fit(X, X[:, 1], columns=(SPLIT, NOISE)).save(tmp_path / str(seed))
    inner = [next((tmp_path / str(seed)).glob("inner-*")) for seed in (0, 1)]
    for file in inner[0].iterdir():
        file.unlink()
    for file in inner[1].iterdir():
        (inner[0] / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UnsupportedError):
        load_surrogate(tmp_path / "0")


def test_the_room_can_be_lifted_out():
    code = (
        "import sys, mbrl_split\n"
        "before = set(sys.modules)\n"
        "import mbrl_split.surrogates\n"
        "new = set(sys.modules) - before\n"
        "rooms = {n.split('.')[1] for n in new if n.startswith('mbrl_split.')}\n"
        "print(sorted(rooms - {'surrogates', 'channels', 'columns', 'errors', 'registry'}))\n"
        "print(sorted({'xgboost', 'gymnasium', 'transformers'} & new))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]
