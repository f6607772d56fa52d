"""Judgements, estimates and regrets, by hand."""

import numpy as np
import pytest

from mbrl_split.evaluation import Estimate, Judgement, Regret


def test_a_judgement_is_the_mean_of_its_units_with_its_error():
    found = Judgement.of(np.array([1.0, 2.0, 6.0]), "episode")
    assert (found.value, found.unit) == (3.0, "episode")
    assert found.std_error == pytest.approx(np.sqrt(7 / 3))  # variance (4 + 1 + 9)/2 = 7
    assert np.isnan(Judgement.of(np.array([1.0]), "episode").std_error)


def test_significance():
    assert Estimate(-3.0, 1.5).significance == -2
    assert Estimate(2.0, 0.0).significance == np.inf
    assert Estimate(-2.0, 0.0).significance == -np.inf


@pytest.mark.parametrize(
    ("headroom", "normalised", "trusted"),
    [(Estimate(0.4, 0.04), 0.5, True), (Estimate(0.4, 0.041), 0.5, False), (Estimate(0.4, 0.0), 0.5, True)],
)
def test_regret_is_normalised_where_the_headroom_is_known_well(headroom, normalised, trusted):
    """Ten standard errors are asked for."""
    regret = Regret.of(achieved=0.7, optimal=0.9, headroom=headroom)
    assert regret.absolute == pytest.approx(0.2)
    assert regret.normalised == pytest.approx(normalised)
    assert regret.trusted == trusted
    assert regret.reported == (regret.normalised if trusted else regret.absolute)


def test_without_headroom_there_is_nothing_to_normalise_by():
    for value in (0.0, -0.1):
        regret = Regret.of(0.7, 0.9, Estimate(value, 0.001))
        assert np.isnan(regret.normalised)
        assert not regret.trusted
        assert regret.reported == regret.absolute
