"""Closed forms against published numbers and against independent quadratures."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from mbrl_split import InvalidInputError
from mbrl_split.channels import Nakagami, Rayleigh, Rice, theory


def test_outage_numbers() -> None:
    assert float(theory.outage_probability(10, 0, Nakagami(1))) == pytest.approx(0.0951626, abs=5e-8)
    assert float(theory.outage_probability(10, 0, Nakagami(2))) == pytest.approx(0.0175231, abs=5e-8)
    assert float(theory.outage_probability(10, 0, Rayleigh())) == pytest.approx(1 - np.exp(-0.1), rel=1e-12)


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_outage_is_the_incomplete_gamma_function(m: float) -> None:
    for snr_db, threshold_db in ((10.0, 0.0), (3.0, 5.0), (20.0, -3.0)):
        ratio = 10 ** ((threshold_db - snr_db) / 10)
        expected = stats.gamma(m, scale=1 / m).cdf(ratio)
        assert float(theory.outage_probability(snr_db, threshold_db, Nakagami(m))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0, 4.0])
def test_outage_falls_by_m_decades_per_10_db(m: float) -> None:
    at_40, at_50 = theory.outage_probability([40.0, 50.0], 0, Nakagami(m))
    assert np.log10(at_40 / at_50) == pytest.approx(m, abs=1e-3)


def test_outage_without_fading_is_a_step() -> None:
    np.testing.assert_array_equal(theory.outage_probability([-1.0, 0.0, 1.0], 0.0), [1, 0, 0])


def test_the_mapped_nakagami_has_another_tail_than_rice() -> None:
    m = theory.nakagami_m_of_rice(3.0)
    assert m == pytest.approx(16 / 7)
    assert float(Rice(3.0).cdf(0.1)) == pytest.approx(2.07e-3, rel=5e-3)
    assert float(Nakagami(m).cdf(0.1)) == pytest.approx(6.6e-5, rel=1e-2)
    # the variance, and only that, is the same
    u = (np.arange(20_000) + 0.5) / 20_000
    assert (Rice(3.0).ppf(u) ** 2).var() == pytest.approx((Nakagami(m).ppf(u) ** 2).var(), rel=1e-2)


def test_capacity_numbers() -> None:
    assert theory.ergodic_capacity(10, Nakagami(1)) == pytest.approx(2.906515, abs=5e-7)
    assert theory.ergodic_capacity(10, Nakagami(2)) == pytest.approx(3.1663, abs=5e-5)
    assert theory.ergodic_capacity(10) == pytest.approx(3.4594, abs=5e-5)


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 10.0, 30.0, 60.0])
def test_capacity_against_its_closed_form_under_rayleigh(snr_db: float) -> None:
    snr = 10 ** (snr_db / 10)
    expected = special.exp1(1 / snr) * np.exp(1 / snr) / np.log(2)
    assert theory.ergodic_capacity(snr_db, Rayleigh()) == pytest.approx(expected, rel=1e-7)


def test_capacity_under_rice_against_the_density() -> None:
    law = stats.rice(np.sqrt(6.0), scale=np.sqrt(1 / 8))
    expected = integrate.quad(lambda h: np.log2(1 + 10 * h * h) * law.pdf(h), 0, 6)[0]
    assert theory.ergodic_capacity(10, Rice(3.0)) == pytest.approx(expected, rel=1e-6)


def test_capacity_tends_to_the_one_without_fading() -> None:
    values = [theory.ergodic_capacity(10, Nakagami(m)) for m in (0.5, 1, 8, 1000)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(theory.ergodic_capacity(10), rel=1e-3)


def test_bit_error_numbers() -> None:
    assert theory.bpsk_bit_error_rate(10, Nakagami(1)) == pytest.approx(0.02326871, abs=5e-9)
    assert theory.bpsk_bit_error_rate(10, Nakagami(2)) == pytest.approx(0.005528247, abs=5e-10)
    assert theory.bpsk_bit_error_rate(10) == pytest.approx(stats.norm.sf(np.sqrt(20)), rel=1e-9)


def test_bit_errors_under_rice_against_the_density() -> None:
    law = stats.rice(np.sqrt(6.0), scale=np.sqrt(1 / 8))
    expected = integrate.quad(lambda h: stats.norm.sf(np.sqrt(20) * h) * law.pdf(h), 0, 6)[0]
    assert theory.bpsk_bit_error_rate(10, Rice(3.0)) == pytest.approx(expected, rel=1e-6)


def test_packet_error_rate() -> None:
    assert float(theory.packet_error_rate(0.02326871, 100)) == pytest.approx(1 - (1 - 0.02326871) ** 100, rel=1e-12)
    assert float(theory.packet_error_rate(1e-12, 8)) == pytest.approx(8e-12, rel=1e-9)  # no cancellation
    np.testing.assert_array_equal(theory.packet_error_rate([0.0, 1.0, 1.0], [10, 10, 0]), [0, 1, 0])
    with pytest.raises(InvalidInputError):
        theory.packet_error_rate(1.1, 8)
    with pytest.raises(InvalidInputError):
        theory.packet_error_rate(float("nan"), 8)


def test_noise_per_real_element() -> None:
    assert float(theory.noise_std(4.0, 10.0)) == pytest.approx(np.sqrt(0.4))
