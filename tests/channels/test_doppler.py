"""The memory of fading against closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from mbrl_split.channels.doppler import (
    doppler_hz,
    gain_of_scatter,
    jakes_correlation,
    power_correlation,
    scatter_correlation,
    shadowing_correlation,
)
from mbrl_split.errors import InvalidInputError


def ar1(r, n, steps, seed=0):
    """A complex AR(1) of unit power by its definition, (steps, n) complex."""
    rng = np.random.default_rng(seed)

    def fresh():
        return (rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)

    g = [fresh()]
    for _ in range(steps - 1):
        g.append(r * g[-1] + np.sqrt(1 - r * r) * fresh())
    return np.array(g)


def parts(g):
    return np.stack([g.real, g.imag], axis=-1)


def test_jakes_and_gudmundson():
    assert jakes_correlation(0.0) == 1
    assert jakes_correlation(0.01) == pytest.approx(0.999013, abs=1e-6)
    assert jakes_correlation(0.05) == pytest.approx(0.975478, abs=1e-6)
    assert doppler_hz(30.0, 3.5e9) == pytest.approx(350.2, abs=0.1)
    assert shadowing_correlation(5.0, 10.0, 50.0) == pytest.approx(np.exp(-1))
    assert jakes_correlation(0.38) > 0
    for bad in (0.39, 1.0, -0.01, float("nan")):
        with pytest.raises(InvalidInputError, match="negative"):
            jakes_correlation(bad)


def test_rayleigh_is_the_complex_ar1():
    g = ar1(0.9, 1000, 3)
    assert np.array_equal(gain_of_scatter(parts(g), 1), np.sqrt(g.real**2 + g.imag**2))
    assert scatter_correlation(1.0, 0.9) == 0.9
    assert power_correlation(1.0, [0.0, 0.5, 0.9]) == pytest.approx([0.0, 0.25, 0.81])


@pytest.mark.parametrize("m", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("rho", [0.5, 0.95])
def test_power_correlates_as_rho_squared_with_gamma_marginals(m, rho):
    r = scatter_correlation(m, rho)
    assert power_correlation(m, r) == pytest.approx(rho**2, abs=1e-9)
    assert r > rho  # the plain parameter would correlate too little
    power = gain_of_scatter(parts(ar1(r, 300_000, 2)), m) ** 2
    assert np.corrcoef(power)[0, 1] == pytest.approx(rho**2, abs=0.01)
    assert (
        abs(np.corrcoef(gain_of_scatter(parts(ar1(rho, 300_000, 2)), m) ** 2)[0, 1] - power_correlation(m, rho)) < 0.01
    )
    for row in power:
        assert stats.kstest(row[:20_000], stats.gamma(m, scale=1 / m).cdf).pvalue > 1e-3


def test_the_memory_fades_geometrically():
    """Over k steps the complex gain correlates as ρ^k, its power as the closed form at r^k."""
    r, m = 0.9, 2.0
    power = gain_of_scatter(parts(ar1(r, 200_000, 5)), m) ** 2
    for k in (1, 2, 4):
        assert np.corrcoef(power[0], power[k])[0, 1] == pytest.approx(float(power_correlation(m, r**k)), abs=0.012)
