"""Scores against their definitions."""

import numpy as np
import pytest
from scipy import integrate, stats

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates import Prediction, score
from mbrl_split.surrogates.prediction import SCORES, QuantilePrediction, knots_of
from mbrl_split.surrogates.scoring import gaussian_crps, quantile_crps


def test_gaussian_crps_is_the_integral_of_its_definition():
    mean, std, y = 0.7, 1.3, 2.1
    expected = integrate.quad(lambda x: stats.norm.cdf(x, mean, std) ** 2, -20, y)[0]
    expected += integrate.quad(lambda x: (1 - stats.norm.cdf(x, mean, std)) ** 2, y, 20)[0]
    assert gaussian_crps(np.array([mean]), np.array([std]), np.array([y]))[0] == pytest.approx(expected, rel=1e-6)


def test_quantile_crps_agrees_with_the_closed_form():
    p = Prediction(np.array([0.0, 1.0, -2.0]), np.array([0.5, 0.0, 1.0]), np.array([0.5, 2.0, 0.1]))
    y = np.array([0.3, -4.0, -2.0])
    np.testing.assert_allclose(quantile_crps(p, y, 2000), gaussian_crps(p.mean, p.std, y), rtol=2e-3)


def test_a_calibrated_forecast_scores_as_theory_says():
    rng = np.random.default_rng(0)
    p = Prediction(rng.standard_normal(20000), np.full(20000, 0.6), np.full(20000, 0.8))
    found = score(p, p.mean + rng.standard_normal(20000))
    assert found["rmse"] == pytest.approx(1.0, abs=0.02)
    assert found["nll"] == pytest.approx(0.5 * np.log(2 * np.pi) + 0.5, abs=0.02)
    assert found["crps"] == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert found["calibration_error"] < 0.01
    assert found["sharpness"] == pytest.approx(1.0)


def test_an_overconfident_forecast_is_found_out():
    rng = np.random.default_rng(0)
    p = Prediction(np.zeros(5000), np.zeros(5000), np.full(5000, 0.3))
    found = score(p, rng.standard_normal(5000))
    assert found["coverage_90"] < 0.45
    assert found["calibration_error"] > 0.2


def test_knots_of_a_normal_law_give_its_density():
    law = Prediction(np.zeros(3), np.zeros(3), np.full(3, 2.0))
    np.testing.assert_allclose(knots_of(law), np.repeat(2 * SCORES[:, None], 3, axis=1), atol=1e-12)
    p = QuantilePrediction(law.mean, law.std_epistemic, law.std_aleatoric, lambda: knots_of(law))
    y = np.array([-3.0, 0.1, 4.0])
    np.testing.assert_allclose(p.log_density(y), stats.norm.logpdf(y, scale=2), rtol=1e-9)
    np.testing.assert_allclose(p.cdf(y), stats.norm.cdf(y, scale=2), rtol=1e-9)
    np.testing.assert_allclose(p.cdf(p.quantile(0.97)), 0.97, rtol=1e-9)


@pytest.mark.parametrize("y", [np.zeros(2), np.array([0.0, np.nan, 1.0])])
def test_targets_to_score_are_checked(y):
    with pytest.raises(InvalidInputError):
        score(Prediction(np.zeros(3), np.ones(3), np.ones(3)), y)
