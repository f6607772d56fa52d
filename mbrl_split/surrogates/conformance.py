"""A conformance suite for surrogates: run it on your own class."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.surrogates.base import Surrogate
from mbrl_split.surrogates.prediction import Array

COLUMNS = (Column("level", "1", 1, 11, "ordinal"), Column("load", "1", 0.03, 3.0, "log"))
"""Columns of the rows that the suite makes up."""


def check_surrogate(surrogate: type[Surrogate] | Surrogate, *, seed: int = 0) -> None:
    """Check a surrogate against its contract; takes some twenty small fits.

    Args:
        surrogate: A class that can be built without arguments, or an instance to clone.
        seed: Fixes the rows.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    template = surrogate if isinstance(surrogate, Surrogate) else surrogate()

    def make(seed: int = 1) -> Surrogate:
        fresh = template.clone(seed=seed)
        _say(type(fresh) is type(template), f"clone() gives a {type(template).__name__}, not a {type(fresh).__name__}")
        return fresh

    rng = np.random.default_rng(seed)
    X, y = _rows(60, rng)
    query = _rows(25, rng)[0]
    _check_unfitted(make, X, y)
    fitted = make().fit(X, y, columns=COLUMNS)
    _check_answers(fitted, query)
    _check_scores(fitted, X, y)
    _check_draws(fitted, query)
    _check_seeds(make, X, y, query)
    _check_units(make, X, y, query)
    _check_few_rows(make, X, y)
    _check_update(make, X, y, query)
    _check_groups(make, rng)
    _check_refusals(make, fitted, X, y)
    _check_storage(fitted, X, y, query)


def _say(holds: object, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


def _rows(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows of a smooth positive function with noise that grows with it."""
    X = np.column_stack([c.sample(n, rng) for c in COLUMNS])
    return X, _truth(X) * (1 + 0.1 * rng.standard_normal(n)) + 0.01 * rng.standard_normal(n)


def _truth(X: Array) -> Array:
    return np.asarray(3 * X[:, 1] / (0.5 + X[:, 1]) * np.exp(-0.1 * X[:, 0]))


def _refuses(action: Callable[[], object], why: str, kind: type[Exception] = InvalidInputError) -> None:
    try:
        action()
    except kind as error:
        _say(str(error) and "\n" not in str(error), f"{why} should be refused in one line, not {str(error)!r}")
        return
    except Exception as error:
        raise AssertionError(f"{why} should raise {kind.__name__}, not {type(error).__name__}: {error}") from error
    raise AssertionError(f"{why} should raise {kind.__name__}, and was accepted")


def _check_unfitted(make: Callable[..., Surrogate], X: Array, y: Array) -> None:
    rng = np.random.default_rng(0)
    _refuses(lambda: make().predict(X), "predict before fit")
    _refuses(lambda: make().sample(X, 2, rng), "sample before fit")
    _refuses(lambda: make().update(X, y), "update before fit")
    _refuses(lambda: make().save(Path(tempfile.gettempdir()) / "never-written"), "save before fit")


def _check_answers(fitted: Surrogate, query: Array) -> None:
    p = fitted.predict(query)
    for name in ("mean", "std_epistemic", "std_aleatoric", "std"):
        value = getattr(p, name)
        _say(
            isinstance(value, np.ndarray) and value.shape == (len(query),) and np.isfinite(value).all(),
            f"predict(X).{name} is a finite array of shape ({len(query)},), not {value!r}",
        )
        _say(name == "mean" or (value >= 0).all(), f"predict(X).{name} is a standard deviation and never negative")
    quantiles = np.array([p.quantile(q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)])
    _say((np.diff(quantiles, axis=0) >= 0).all(), "quantiles should not cross: quantile(q) must not fall as q rises")
    low, high = p.interval(0.9)
    _say(
        np.allclose(low, quantiles[0]) and np.allclose(high, quantiles[-1]),
        "interval(0.9) should be quantile(0.05) and quantile(0.95)",
    )
    inside = p.cdf(p.quantile(0.75))
    _say(np.allclose(inside, 0.75, atol=0.02), f"cdf should invert quantile: cdf(quantile(0.75)) is {inside[0]:.3f}")
    _say(np.isfinite(p.log_density(p.mean)).all(), "log_density at the mean should be finite")
    one = fitted.predict(query[:1]).mean
    _say(np.allclose(one, p.mean[:1], rtol=1e-4, atol=1e-6), "a row's prediction should not depend on its neighbours")
    _say(fitted.columns == COLUMNS, "the attribute columns should be what fit was given")


def _check_scores(fitted: Surrogate, X: Array, y: Array) -> None:
    names = {"rmse", "nll", "crps", "coverage_90", "calibration_error", "sharpness"}
    found = fitted.score(X, y)
    _say(
        set(found) == names and np.isfinite(list(found.values())).all(), f"score gives finite {sorted(names)}: {found}"
    )
    rmse, std = found["rmse"], y.std()
    _say(rmse < 0.7 * std, f"60 rows of a smooth function leave an rmse of {rmse:.3g} where their std is {std:.3g}")


def _check_draws(fitted: Surrogate, query: Array) -> None:
    draws = fitted.sample(query, 4000, np.random.default_rng(3))
    _say(draws.shape == (4000, len(query)), f"sample(X, 4000, rng) has shape (4000, {len(query)}), not {draws.shape}")
    p = fitted.predict(query)
    # Four standard errors of the sampled mean, and room for the approximation of a table or a back-transform.
    gap = np.abs(draws.mean(axis=0) - p.mean) / (p.std_epistemic + 1e-12)
    _say((gap < 0.15).all(), f"draws should have the predicted mean; off by {gap.max():.2f} epistemic std")
    ratio = (draws.std(axis=0) + 1e-12) / (p.std_epistemic + 1e-12)
    _say(
        ((ratio > 0.8) & (ratio < 1.25)).all(),
        f"draws should spread by std_epistemic, the noise kept out, not {ratio.min():.2f} to {ratio.max():.2f} of it",
    )
    twin = np.repeat(query[:1], 2, axis=0)
    pair = fitted.sample(twin, 50, np.random.default_rng(4))
    spread = max(float(pair.std()), 1e-9)
    _say(
        np.abs(pair[:, 0] - pair[:, 1]).max() < 0.05 * spread,
        "draws should be joint: a row asked twice in one call has one value per draw",
    )


def _check_seeds(make: Callable[..., Surrogate], X: Array, y: Array, query: Array) -> None:
    a, b = (make(7).fit(X, y, columns=COLUMNS) for _ in range(2))
    _say(np.array_equal(a.predict(query).mean, b.predict(query).mean), "the same seed should give the same bits")
    first = a.sample(query, 3, np.random.default_rng(5))
    again = a.sample(query, 3, np.random.default_rng(5))
    _say(np.array_equal(first, again), "sample should be random by its generator alone")


def _check_units(make: Callable[..., Surrogate], X: Array, y: Array, query: Array) -> None:
    p = make().fit(X, y, columns=COLUMNS).predict(query)
    scaled = make().fit(X, 1024.0 * y, columns=COLUMNS).predict(query)  # a power of two changes no bits of a scaler
    for name in ("mean", "std_epistemic", "std_aleatoric"):
        size = np.abs(getattr(p, name)).max() + 1e-12
        gap = np.abs(getattr(scaled, name) / 1024.0 - getattr(p, name)).max() / size
        _say(gap < 0.02, f"targets 1024 times as large should make {name} 1024 times as large; it is off by {gap:.1%}")


def _check_few_rows(make: Callable[..., Surrogate], X: Array, y: Array) -> None:
    three = np.repeat(X[:3], 5, axis=0), np.repeat(y[:3], 5)
    for what, (rows, targets) in {"one row": (X[:1], y[:1]), "three rows, five times each": three}.items():
        p = make().fit(rows, targets, columns=COLUMNS).predict(X[:3])
        _say(np.isfinite([p.mean, p.std]).all(), f"{what} should be enough to answer with finite numbers")
    for value in (0.0, 2.5):
        p = make().fit(X, np.full(len(X), value), columns=COLUMNS).predict(X)
        _say(
            np.abs(p.mean - value).max() < 0.1 * max(abs(value), 1.0) and np.isfinite(p.std).all(),
            f"constant targets {value} should be predicted as such, not as {p.mean[:3]}",
        )


def _check_update(make: Callable[..., Surrogate], X: Array, y: Array, query: Array) -> None:
    base = make().fit(X[:20], y[:20], columns=COLUMNS)
    errors = [base.predict(query).mean - _truth(query)]
    _say(base.update(*_rows(200, np.random.default_rng(9))) is base, "update should return the surrogate itself")
    errors.append(base.predict(query).mean - _truth(query))
    before, after = np.sqrt(np.mean(np.square(errors), axis=1))
    _say(after < before, f"200 more rows by update should lower the error; it went from {before:.3g} to {after:.3g}")


def _check_groups(make: Callable[..., Surrogate], rng: np.random.Generator) -> None:
    # Ten copies of each of 30 noisy targets: taken as 300 rows they look noise-free, taken as 30 groups they do not.
    X, y = _rows(30, rng)
    y = y + 0.5 * rng.standard_normal(30)
    X, y, groups = np.repeat(X, 10, axis=0), np.repeat(y, 10), np.repeat(np.arange(30), 10)
    noise = make().fit(X, y, groups=groups, columns=COLUMNS).predict(X).std.mean()
    _say(
        noise > 0.2,
        f"groups should be held out together: copies of noisy targets (std 0.5) are given a std of {noise:.2g}",
    )


def _check_refusals(make: Callable[..., Surrogate], fitted: Surrogate, X: Array, y: Array) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        spoiled = np.where(np.arange(len(y)) == 3, bad, y)
        _refuses(partial(make().fit, X, spoiled, columns=COLUMNS), f"a target that is {bad}")
    _refuses(lambda: make().fit(X[:0], y[:0], columns=COLUMNS), "a fit without rows")
    _refuses(lambda: make().fit(X, y[:-1], columns=COLUMNS), "targets fewer than rows")
    _refuses(lambda: make().fit(X, y[:, None], columns=COLUMNS), "targets of shape (n, 1)")
    _refuses(lambda: make().fit(X[:, 0], y, columns=COLUMNS), "one-dimensional X")
    _refuses(lambda: make().fit(X, y, std_error=-np.ones(len(y)), columns=COLUMNS), "a negative standard error")
    _refuses(lambda: make().fit(X, y, groups=np.zeros(3), columns=COLUMNS), "groups of another length")
    _refuses(lambda: fitted.predict(X[:, :1]), "a query with a missing column")
    _refuses(lambda: fitted.predict([X[0], [X[1, 0], 300.0]]), "a query outside its column's range")
    _refuses(lambda: fitted.predict([X[0], [X[1, 0], np.nan]]), "a query that is not a number")


def _check_storage(fitted: Surrogate, X: Array, y: Array, query: Array) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved"
        fitted.save(folder)
        loaded = type(fitted).load(folder)
        p, q = fitted.predict(query), loaded.predict(query)
        for part in ("mean", "std_epistemic", "std_aleatoric"):
            _say(np.array_equal(getattr(p, part), getattr(q, part)), f"load(save(s)) should predict {part} bit for bit")
        _say(np.array_equal(p.quantile(0.9), q.quantile(0.9)), "load(save(s)) should predict quantiles bit for bit")
        loaded.update(X[:5], y[:5])
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            content = file.read_bytes()
            middle = len(content) // 2
            file.write_bytes(content[:middle])
            _refuses(lambda: type(fitted).load(folder), f"{file.name} cut short", UnsupportedError)
            flipped = bytes([content[middle] ^ 1])
            file.write_bytes(content[:middle] + flipped + content[middle + 1 :])
            _refuses(lambda: type(fitted).load(folder), f"{file.name} with one bit changed", UnsupportedError)
            file.write_bytes(content)
        _refuses(lambda: type(fitted).load(Path(name) / "elsewhere"), "a folder without a surrogate", UnsupportedError)
