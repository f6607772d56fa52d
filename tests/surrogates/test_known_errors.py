"""Rows whose errors are known: the target is warped only where that makes the errors evener."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from mbrl_split.bench.tuned import RowRunner
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates import (
    EnsembleSurrogate,
    GPSurrogate,
    MLPSurrogate,
    RecalibratedSurrogate,
    SklearnSurrogate,
    Surrogate,
    XGBoostSurrogate,
)
from mbrl_split.surrogates.rows import held_out
from mbrl_split.surrogates.warped import WarpedSurrogate
from mbrl_split.tuning import Instance, Space, TuneData

Array = NDArray[np.float64]


def forest(**settings: Any) -> SklearnSurrogate:
    return SklearnSurrogate(RandomForestRegressor(20, min_samples_leaf=3), **settings)


# A root mean square error of the mean between those without the warp (0.002, 0.13, 0.16, 0.41, 0.23) and those
# with it (0.27, 0.25, 0.42, 0.70, 0.43).
LEARNERS: dict[str, tuple[Callable[..., WarpedSurrogate], float]] = {
    "gp": (GPSurrogate, 0.02),
    "mlp": (MLPSurrogate, 0.18),
    "ensemble": (EnsembleSurrogate, 0.25),
    "xgboost": (XGBoostSurrogate, 0.55),
    "sklearn": (forest, 0.33),
}


def truth(X: Array) -> Array:
    return np.asarray(np.sin(3 * X[:, 0]) + X[:, 1])


def half_exact() -> tuple[Array, Array, Array]:
    """Sixty rows: every other one is exact, the others have a known deviation of 3, twice the function's range."""
    rng = np.random.default_rng(0)
    X = rng.random((60, 2))
    std_error = np.tile([0.0, 3.0], 30)
    return X, truth(X) + std_error * rng.standard_normal(60), std_error


def rmse(surrogate: Surrogate, offset: float = 0.0) -> float:
    X = np.random.default_rng(1).random((500, 2))
    return float(np.sqrt(np.mean((surrogate.predict(X).mean - offset - truth(X)) ** 2)))


@pytest.mark.parametrize(("make", "good"), LEARNERS.values(), ids=list(LEARNERS))
def test_exact_rows_are_learnt_from_among_noisy_ones(make: Callable[..., WarpedSurrogate], good: float) -> None:
    X, y, std_error = half_exact()
    learnt = make(seed=0).fit(X, y, std_error=std_error)
    assert rmse(learnt) < good
    assert rmse(make(seed=0, warp="auto").fit(X, y, std_error=std_error)) > good  # so the rows can tell
    plain = make(seed=0, warp="none").fit(X, y, std_error=std_error)
    np.testing.assert_array_equal(learnt.predict(X).mean, plain.predict(X).mean)
    np.testing.assert_array_equal(learnt.predict(X).std, plain.predict(X).std)


@pytest.mark.parametrize("make", [make for make, _ in LEARNERS.values()], ids=list(LEARNERS))
@pytest.mark.parametrize("offset", [16.0, -1024.0])
def test_an_offset_of_all_targets_moves_the_mean_by_as_much(
    make: Callable[..., WarpedSurrogate], offset: float
) -> None:
    X, y, std_error = half_exact()
    here, there = make(seed=0).fit(X, y, std_error=std_error), make(seed=0).fit(X, y + offset, std_error=std_error)
    np.testing.assert_allclose(there.predict(X).mean - offset, here.predict(X).mean, atol=0.02)
    np.testing.assert_allclose(there.predict(X).std, here.predict(X).std, rtol=0.02)


def skewed() -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    X = rng.random((80, 2))
    return X, np.exp(5 * X[:, 0] + 0.3 * rng.standard_normal(80))


def test_where_no_error_is_known_the_warp_is_chosen_as_ever() -> None:
    X, y = skewed()
    auto = GPSurrogate(warp="auto").fit(X, y)
    assert np.isfinite(auto._warp.scale)
    for std_error in (None, np.full(80, np.nan), np.zeros(80)):
        learnt = GPSurrogate().fit(X, y, std_error=std_error)
        np.testing.assert_array_equal(learnt.predict(X).mean, auto.predict(X).mean)
    one = np.full(80, np.nan)
    one[3] = 0.1
    assert np.isinf(GPSurrogate().fit(X, y, std_error=one)._warp.scale)
    assert np.isfinite(GPSurrogate(warp="auto").fit(X, y, std_error=one)._warp.scale)


def test_errors_that_grow_with_the_target_leave_the_warp() -> None:
    """They are what the warp makes even: twice as large where the target is, they are one size on its scale."""
    X, y = skewed()
    auto = GPSurrogate(warp="auto").fit(X, y, std_error=0.3 * y)
    assert np.isfinite(auto._warp.scale)
    np.testing.assert_array_equal(GPSurrogate().fit(X, y, std_error=0.3 * y).predict(X).mean, auto.predict(X).mean)
    for against in (np.full(80, 2.0), 30 / y):
        assert np.isinf(GPSurrogate().fit(X, y, std_error=against)._warp.scale)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_ledger_bought_decides_as_well_as_with_the_warp(seed: int) -> None:
    """Errors of mean damages grow with the damage: rows of a fading channel, looked up in contexts of their own."""
    row = {"agent": "argmax", "source": "gp", "acquisition": "random", "budget": 60, "env_steps": 1}
    space = Space(agent={"argmax": None}, source={"gp": None})
    data = TuneData("t", "t", space, scenarios=["equalised"], models=["tiny-llama"])
    runner = RowRunner.of(data, Path("."))
    outcomes = [
        runner({**row, "settings": {"source": settings}}, Instance("equalised/tiny-llama", seed))
        for settings in ({}, {"warp": "auto"}, {"warp": "none"})
    ]
    assert outcomes[0].unit == "headroom"
    assert outcomes[0].regret == outcomes[1].regret < 0.25
    assert outcomes[2].regret > outcomes[0].regret


@pytest.mark.parametrize("make", [make for make, _ in LEARNERS.values()], ids=list(LEARNERS))
def test_an_update_that_brings_known_errors_learns_anew_without_warp(
    make: Callable[..., WarpedSurrogate], tmp_path: Path
) -> None:
    X, y = skewed()
    error = np.full(20, 5.0)
    learnt = make(seed=0).fit(X[:60], y[:60])
    assert np.isfinite(learnt._warp.scale)
    learnt.update(X[60:], y[60:], std_error=error)
    assert np.isinf(learnt._warp.scale)
    # As if fitted without warp, but for the scaler of the inputs, which stays.
    plain = make(seed=0, warp="none").fit(X, y, std_error=np.append(np.full(60, np.nan), error))
    gap = learnt.predict(X).mean - plain.predict(X).mean
    assert np.sqrt(np.mean(gap**2)) < 0.2 * np.std(y)
    if not isinstance(learnt, SklearnSurrogate):
        learnt.save(tmp_path / "s")
        loaded = type(learnt).load(tmp_path / "s")
        np.testing.assert_array_equal(loaded.predict(X).mean, learnt.predict(X).mean)
        # Once without warp, always without: the rows of known error are still among those learnt.
        assert np.isinf(loaded.update(X[:5], y[:5])._warp.scale)


def test_a_wrapper_that_holds_the_rows_of_known_error_out_ends_without_warp_too() -> None:
    X, y = skewed()
    held = held_out(np.arange(80), 0.25, 0)
    for known in (held, ~held):
        inner = GPSurrogate()
        RecalibratedSurrogate(inner, share=0.25, seed=0).fit(X, y, std_error=np.where(known, 4.0, np.nan))
        assert np.isinf(inner._warp.scale)


def test_another_word_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="unless-std-error"):
        GPSurrogate(warp="always")  # type: ignore[arg-type]
