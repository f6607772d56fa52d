"""Estimators and intervals against slow loops, scipy, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import (
    bootstrap,
    calibration,
    evaluations_to_target,
    holm,
    iqm,
    mean,
    median,
    optimality_gap,
    paired_difference,
    paired_test,
    performance_profile,
    probability_of_improvement,
)
from mbrl_split.surrogates import Prediction

RNG = np.random.default_rng(0)
A, B = RNG.normal(0.2, 1, (10, 4)), RNG.normal(0, 1, (8, 4))


def test_estimators_against_slow_loops():
    flat = sorted(A.ravel().tolist())
    assert iqm(A) == pytest.approx(sum(flat[10:30]) / 20)
    assert mean(A) == pytest.approx(sum(flat) / 40)
    assert median(A) == pytest.approx(np.median([sum(A[:, j]) / 10 for j in range(4)]))
    assert optimality_gap(A, 0.5) == pytest.approx(sum(max(0.5 - x, 0) for x in flat) / 40)
    np.testing.assert_allclose(performance_profile(A, [-1, 0, 1]), [sum(x > t for x in flat) / 40 for t in (-1, 0, 1)])
    wins = [(x > y) + 0.5 * (x == y) for j in range(4) for x in A[:, j] for y in B[:, j]]
    assert probability_of_improvement(A, B) == pytest.approx(np.mean(wins))
    u = [stats.mannwhitneyu(A[:, j], B[:, j]).statistic / 80 for j in range(4)]
    assert probability_of_improvement(A, B) == pytest.approx(np.mean(u))
    assert probability_of_improvement([1, 1], [1, 1]) == 0.5


def test_iqm_hides_a_collapsed_quarter_and_the_mean_does_not():
    runs = np.array([0.1] * 15 + [5.0] * 5)
    assert iqm(runs) == pytest.approx(0.1)
    assert mean(runs) > 1


def test_no_interval_below_ten_seeds():
    interval = bootstrap(A[:9])
    assert (interval.low, interval.high) == (None, None)
    assert 0.0 not in interval
    assert bootstrap(A).low is not None


def test_bootstrap_of_the_mean_matches_its_closed_form():
    x = np.random.default_rng(1).normal(3, 2, (400, 1))
    interval = bootstrap(x, mean, replicates=4000)
    half = 1.96 * x.std() / 20
    assert interval.low == pytest.approx(x.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(x.mean() + half, abs=0.03)
    assert interval == bootstrap(x, mean, replicates=4000)
    assert interval != bootstrap(x, mean, replicates=4000, seed=1)


def test_bootstrap_resamples_within_scenarios():
    """Scenarios far apart: only the spread within them may widen the interval of the mean."""
    x = np.random.default_rng(2).normal(0, 0.1, (20, 3)) + np.array([0, 100, 200])
    interval = bootstrap(x, mean)
    assert interval.high - interval.low < 0.1


def test_error_of_the_scale_widens_the_interval():
    x = np.full((10, 1), 2.0)
    assert bootstrap(x).low == 2.0
    wide = bootstrap(x, relative_error=0.05)
    assert wide.low == pytest.approx(2 / (1 + 0.05 * 1.96), abs=0.02)
    assert wide.high == pytest.approx(2 / (1 - 0.05 * 1.96), abs=0.03)


def test_iqm_interval_covers_at_twenty_seeds():
    """Light simulation: skewed runs, known IQM. Below ten seeds the coverage would be too low to show."""
    rng = np.random.default_rng(3)
    q = np.linspace(0.25, 0.75, 10_001)
    truth = stats.expon.ppf(q).mean()
    inside = [truth in bootstrap(rng.exponential(size=(20, 1)), replicates=200, seed=k) for k in range(150)]
    assert 0.87 < np.mean(inside) <= 0.99
    few = []
    for _ in range(200):
        x = rng.exponential(size=(4, 1))
        resampled = [iqm(x[rng.integers(0, 4, 4)]) for _ in range(100)]
        few.append(np.quantile(resampled, 0.025) <= truth <= np.quantile(resampled, 0.975))
    assert np.mean(few) < np.mean(inside) - 0.05  # why no interval is given there


def test_pairing_removes_what_seeds_share():
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 5, (12, 2))
    a, b = shared + 0.3 + rng.normal(0, 0.1, (12, 2)), shared + rng.normal(0, 0.1, (12, 2))
    interval = paired_difference(a, b)
    assert interval.low > 0.2
    assert interval.high < 0.4
    assert paired_test(a, b) == pytest.approx(2 / 2**12)  # all signs agree: the smallest p-value of 12 pairs
    assert paired_test(a, a) == 1.0
    with pytest.raises(InvalidInputError, match="equal shapes"):
        paired_difference(a, b[:11])


def test_sign_flips_are_uniform_under_the_null():
    rng = np.random.default_rng(5)
    p = [paired_test(rng.normal(size=(8, 1)), rng.normal(size=(8, 1))) for _ in range(300)]
    assert abs(np.mean(np.array(p) <= 0.1) - 0.1) < 0.05
    big = [paired_test(rng.normal(size=(15, 1)), rng.normal(size=(15, 1)), samples=500) for _ in range(200)]
    assert abs(np.mean(np.array(big) <= 0.1) - 0.1) < 0.06


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    with pytest.raises(InvalidInputError):
        holm([1.2])


def test_scores_are_checked():
    for bad in ([], [[1.0, np.nan]], np.zeros((2, 2, 2))):
        with pytest.raises(InvalidInputError):
            iqm(bad)
    with pytest.raises(InvalidInputError, match="scenarios"):
        probability_of_improvement(A, A[:, :2])


def test_reach_needs_to_hold():
    e, s = [10, 20, 30, 40, 50], [1.0, 2.0, 3.0, 4.0, 5.0]
    reach = evaluations_to_target(e, s, [0.5, 0.05, 0.2, 0.1, 0.09], 0.1)
    assert (reach.evaluations, reach.seconds) == (40, 4.0)
    assert evaluations_to_target(e, s, [0.5, 0.05, 0.05, 0.05, 0.2], 0.1) is None
    assert evaluations_to_target(e, s, [0.0] * 5, 0.1).evaluations == 10
    assert evaluations_to_target(e, s, [0.0, 0.0, np.nan, 0.0, 0.0], 0.1).evaluations == 40
    with pytest.raises(InvalidInputError, match="descend"):
        evaluations_to_target([2, 1], [0, 0], [0, 0], 0.1)
    with pytest.raises(InvalidInputError, match="one value per point"):
        evaluations_to_target([], [], [], 0.1)


def test_calibration_sees_what_one_inflation_factor_hides():
    rng = np.random.default_rng(6)
    mean_ = rng.uniform(0, 3, 6000)
    true_std = 0.1 + 0.3 * mean_
    y = rng.normal(mean_, true_std)
    zero = np.zeros_like(mean_)
    good = calibration(Prediction(mean_, zero, true_std), y)
    assert good.coverage == pytest.approx(0.9, abs=3 * good.std_error)
    np.testing.assert_allclose(good.terciles, 0.9, atol=0.03)
    np.testing.assert_allclose(good.quantiles, good.levels, atol=0.025)
    assert good.below == pytest.approx(0.05, abs=0.015)
    # One width for all, chosen so that the margin is met: right on average, wrong in both thirds.
    width = np.quantile(np.abs(y - mean_), 0.9) / stats.norm.ppf(0.95)
    flat = calibration(Prediction(mean_, zero, np.full_like(mean_, width)), y)
    assert flat.coverage == pytest.approx(0.9, abs=0.01)
    assert flat.terciles[0] > 0.98
    assert flat.terciles[2] < 0.82
    with pytest.raises(InvalidInputError):
        calibration(Prediction(mean_, zero, zero), y[:5])
