"""The fading laws against scipy, moments and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mbrl_split import InvalidInputError
from mbrl_split.channels import Fading, Nakagami, Radio, Rayleigh, Rice

SHAPES = (0.5, 1.0, 2.0, 4.0, 8.0)
# Midpoints of equal strata: an average over them is a quadrature over the law, with no Monte Carlo noise.
STRATA = (np.arange(200_000) + 0.5) / 200_000


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("omega", [1.0, 2.5])
def test_nakagami_is_scipys(m: float, omega: float) -> None:
    law = stats.nakagami(m, scale=np.sqrt(omega))
    u = np.linspace(1e-6, 1 - 1e-6, 101)
    np.testing.assert_allclose(Nakagami(m, omega).ppf(u), law.ppf(u), rtol=1e-9)
    h = np.linspace(0, 4, 101)
    np.testing.assert_allclose(Nakagami(m, omega).cdf(h), law.cdf(h), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("k", [0.0, 0.5, 3.0, 30.0])
def test_rice_is_scipys(k: float) -> None:
    law = stats.rice(np.sqrt(2 * k), scale=np.sqrt(1 / (2 * (k + 1))))
    u = np.linspace(1e-6, 1 - 1e-6, 101)
    np.testing.assert_allclose(Rice(k).ppf(u), law.ppf(u), rtol=1e-6)
    h = np.linspace(0.01, 3, 101)
    np.testing.assert_allclose(Rice(k).cdf(h), law.cdf(h), rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("m", SHAPES)
def test_moments_of_the_nakagami_power(m: float) -> None:
    power = Nakagami(m, omega=2.0).ppf(STRATA) ** 2
    assert power.mean() == pytest.approx(2.0, rel=1e-3)
    assert power.var() == pytest.approx(4.0 / m, rel=1e-2)


def test_moments_of_the_rice_power() -> None:
    for k in (0.0, 1.0, 3.0, 10.0):
        power = Rice(k).ppf(STRATA[::20]) ** 2
        assert power.mean() == pytest.approx(1.0, rel=2e-3)
        assert power.var() == pytest.approx((2 * k + 1) / (k + 1) ** 2, rel=2e-2)


@pytest.mark.parametrize("law", [Nakagami(0.5), Nakagami(2.0), Rayleigh(), Rice(3.0), Rice(0.0, omega=2.0)])
def test_laplace_transform_is_the_mean_of_the_exponential(law: Fading) -> None:
    for s in (0.0, 0.1, 1.0, 10.0):
        assert float(law.laplace(s)) == pytest.approx(np.exp(-s * law.ppf(STRATA[::10]) ** 2).mean(), rel=2e-3)


@pytest.mark.parametrize("law", [Nakagami(0.5), Nakagami(4.0), Rayleigh(), Rice(3.0)])
def test_sampled_gains_follow_their_law(law: Fading) -> None:
    gains = Radio(0.0, fading=law).sample((4000, 1, 1), range(4000)).gains
    assert gains is not None
    assert stats.kstest(gains[:, 0].numpy(), law.cdf).pvalue > 1e-3


def test_rayleigh_is_a_complex_gaussian_and_not_a_real_one() -> None:
    rng = np.random.default_rng(0)
    real, imaginary = rng.standard_normal((2, 20_000))
    assert stats.kstest(np.hypot(real, imaginary) / np.sqrt(2), Rayleigh().cdf).pvalue > 1e-3
    assert stats.kstest(np.abs(real), Rayleigh().cdf).pvalue < 1e-50  # the common mistake
    assert stats.kstest(np.abs(real), Nakagami(0.5).cdf).pvalue > 1e-3  # is the one-sided Gaussian


def test_rayleigh_is_nakagami_1_and_rice_0() -> None:
    u = STRATA[::1000]
    np.testing.assert_array_equal(Rayleigh().ppf(u), Nakagami(1.0).ppf(u))
    np.testing.assert_allclose(Rice(0.0).ppf(u), Rayleigh().ppf(u), rtol=1e-9)
    np.testing.assert_allclose(Rayleigh().ppf(u), np.sqrt(-np.log1p(-u)), rtol=1e-9)


@given(m=st.floats(0.5, 100), omega=st.floats(1e-3, 1e3), u=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_ppf_inverts_cdf(m: float, omega: float, u: float) -> None:
    law = Nakagami(m, omega)
    assert float(law.cdf(law.ppf(u))) == pytest.approx(u, rel=1e-6, abs=1e-12)


@given(k=st.floats(0, 50), u=st.floats(1e-9, 1 - 1e-9))
@settings(deadline=None)
def test_rice_ppf_inverts_cdf(k: float, u: float) -> None:
    assert float(Rice(k).cdf(Rice(k).ppf(u))) == pytest.approx(u, rel=1e-5, abs=1e-12)


def test_the_smallest_uniform_gives_gain_zero() -> None:
    for law in (Nakagami(0.5), Nakagami(8.0), Rayleigh(), Rice(3.0)):
        assert float(law.ppf(0.0)) == 0.0


@pytest.mark.parametrize("bad", [0.49, 0.0, -1.0, float("nan"), float("inf")])
def test_impossible_shapes_are_refused(bad: float) -> None:
    with pytest.raises(InvalidInputError, match=r"at least 0\.5"):
        Nakagami(bad)


def test_impossible_parameters_are_refused() -> None:
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="Rice factor"):
            Rice(bad)
    for omega in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="omega"):
            Nakagami(1.0, omega)
        with pytest.raises(InvalidInputError, match="omega"):
            Rayleigh(omega)
        with pytest.raises(InvalidInputError, match="omega"):
            Rice(1.0, omega)
