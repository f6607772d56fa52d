"""Exact integration over the fading law, against quadrature, simulation and closed forms."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, special, stats

from mbrl_split.channels.fading_integral import (
    NakagamiFading,
    NoFading,
    RiceFading,
    gain_weights,
    hat_weights,
    ratio_weights,
)
from mbrl_split.errors import InvalidInputError

SHAPES = (0.5, 1.0, 2.0, 4.0, 8.0)
RATIOS = np.geomspace(0.1, 100, 16)


def expectation(law_pdf, f, points):
    """E[f(h)] by adaptive quadrature in the substituted variable h = t², which tames the singularity at 0."""
    edges = [0.0, *np.sqrt(points), np.inf]
    return sum(
        integrate.quad(lambda t: 2 * t * law_pdf(t * t) * f(t * t), a, b, epsabs=1e-13, limit=200)[0]
        for a, b in pairwise(edges)
    )


def inverse_square(reference, h):
    """E[(h/H)²; H > h] by adaptive quadrature, split where the integrand bends."""
    edges = [h, max(1.0, 2 * h), max(1.0, 2 * h) + 12]
    return sum(
        integrate.quad(lambda x: (h / x) ** 2 * reference.pdf(x), a, b, epsabs=1e-13, limit=200)[0]
        for a, b in pairwise(edges)
    )


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("omega", [1.0, 2.5])
def test_partial_moments_of_nakagami_agree_with_quadrature(m, omega):
    law, reference = NakagamiFading(m, omega), stats.nakagami(m, scale=np.sqrt(omega))
    for h in (1e-3, 0.3, 1.0, 2.2):
        assert law.below(h) == pytest.approx(reference.cdf(h), abs=1e-12)
        mean = integrate.quad(lambda t: 2 * t**3 * reference.pdf(t * t), 0, np.sqrt(h), epsabs=1e-13)[0]
        assert law.mean_below(h) == pytest.approx(mean, abs=1e-9)
        assert law.square_ratio_above(h) == pytest.approx(inverse_square(reference, h), abs=1e-8)


@pytest.mark.parametrize("k", [0.0, 0.5, 3.0, 12.0])
def test_rice_is_the_gain_of_a_shifted_complex_gaussian(k):
    law = RiceFading(k, 1.7)
    reference = stats.rice(np.sqrt(2 * k), scale=np.sqrt(1.7 / (2 * (k + 1))))
    for h in (0.05, 0.6, 1.3, 2.0):
        assert law.below(h) == pytest.approx(reference.cdf(h), abs=1e-12)
        mean = integrate.quad(lambda x: x * reference.pdf(x), 0, h, epsabs=1e-13)[0]
        assert law.mean_below(h) == pytest.approx(mean, abs=1e-10)
        assert law.square_ratio_above(h) == pytest.approx(inverse_square(reference, h), abs=1e-8)
    u = np.array([0.01, 0.5, 0.99])
    np.testing.assert_allclose(law.quantile(u), reference.ppf(u), rtol=1e-7)


def test_rice_does_not_have_the_tail_of_the_matched_nakagami():
    k = 3.0
    assert RiceFading(k).below(0.1) == pytest.approx(2.07e-3, rel=5e-3)
    assert NakagamiFading((k + 1) ** 2 / (2 * k + 1)).below(0.1) == pytest.approx(6.6e-5, rel=5e-3)


def test_rayleigh_has_its_closed_forms_and_m_near_one_is_smooth():
    h = np.array([0.01, 0.4, 1.5])
    rayleigh = NakagamiFading(1.0)
    np.testing.assert_allclose(rayleigh.below(h), 1 - np.exp(-(h**2)), rtol=1e-12)
    np.testing.assert_allclose(rayleigh.square_ratio_above(h), h**2 * special.exp1(h**2), rtol=1e-8)
    for m in (1 - 2e-5, 1 - 5e-6, 1 + 5e-6, 1 + 2e-5):
        np.testing.assert_allclose(NakagamiFading(m).square_ratio_above(h), h**2 * special.exp1(h**2), atol=2e-5)


@pytest.mark.parametrize("m", SHAPES)
def test_weights_sum_to_one_and_are_probabilities(m):
    noise = np.array([0.0, 1e-6, 0.03, 0.7, 3.0, 1e3])
    for weights in (
        ratio_weights(NakagamiFading(m), noise, RATIOS),
        ratio_weights(NoFading(), noise, RATIOS),
        ratio_weights(RiceFading(m), noise, RATIOS),
        gain_weights(NakagamiFading(np.full((4, 1), m)), np.linspace(0, 3.5, 20)),
    ):
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("m", SHAPES)
def test_exact_for_functions_piecewise_linear_in_the_gain(m):
    rng = np.random.default_rng(0)
    gains = np.array([0.0, 0.02, 0.3, 0.5, 1.1, 2.0, 4.5])
    values = rng.normal(size=gains.size)
    pdf = stats.nakagami(m).pdf
    truth = expectation(pdf, lambda h: np.interp(h, gains, values), gains[1:])
    assert gain_weights(NakagamiFading(m), gains)[0] @ values == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("noise", [0.05, 0.6, 3.0])
def test_ratio_weights_integrate_the_documented_curve(m, noise):
    rng = np.random.default_rng(1)
    finite, pure_noise = np.sort(rng.random(RATIOS.size)) * 6, 7.3

    def curve(h):
        s = noise / h if h > 0 else np.inf
        if s <= RATIOS[0]:
            return finite[0] * (s / RATIOS[0]) ** 2
        return np.interp(1 / s, [0, *(1 / RATIOS[::-1])], [pure_noise, *finite[::-1]])

    truth = expectation(stats.nakagami(m).pdf, curve, np.sort(noise / RATIOS))
    weights = ratio_weights(NakagamiFading(m), [noise], RATIOS)[0]
    assert weights @ np.array([0, *finite, pure_noise]) == pytest.approx(truth, abs=1e-8)


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0, 4.0])
def test_integration_agrees_with_direct_simulation(m):
    # A saturating curve that is not piecewise linear: knots dense enough that only simulation noise is left.
    noise, fine = 0.8, np.geomspace(0.05, 200, 400)

    def damage(s):
        return 8 * s**2 / (4 + s**2)

    weights = ratio_weights(NakagamiFading(m), [noise], fine)[0]
    exact = weights @ np.array([0, *damage(fine), 8])
    h = np.sqrt(np.random.default_rng(2).gamma(m, 1 / m, size=200_000))
    drawn = damage(noise / h)
    assert abs(drawn.mean() - exact) < 2 * drawn.std() / np.sqrt(len(drawn))
    # Negative control: ignoring the fading is off by many standard errors.
    assert abs(drawn.mean() - damage(noise)) > 10 * drawn.std() / np.sqrt(len(drawn))


def test_rows_have_their_own_parameters():
    m, noise = np.array([[0.5], [3.0]]), np.array([0.2, 1.4])
    both = ratio_weights(NakagamiFading(m), noise, RATIOS)
    for i in range(2):
        np.testing.assert_array_equal(both[i], ratio_weights(NakagamiFading(float(m[i, 0])), noise[[i]], RATIOS)[0])


def test_without_fading_the_weights_interpolate():
    weights = ratio_weights(NoFading(), [0.0, 0.05, RATIOS[3], 1.0, 1e9], RATIOS)
    np.testing.assert_allclose(weights[0], np.eye(18)[0])
    np.testing.assert_allclose(weights[1, :2], [0.75, 0.25])
    np.testing.assert_allclose(weights[2], np.eye(18)[4], atol=1e-9)
    s = np.array([0, *RATIOS, 1e300])
    assert weights[3] @ (1 / np.maximum(s, 1e-3)) == pytest.approx(1.0)
    np.testing.assert_allclose(weights[4], np.eye(18)[17], atol=1e-6)


def test_quantiles_invert_the_law():
    u = np.array([1e-6, 0.1, 0.5, 0.999])
    for law in (NakagamiFading(0.5), NakagamiFading(8.0, 2.0), RiceFading(0.0), RiceFading(3.0)):
        np.testing.assert_allclose(law.below(law.quantile(u)), u, rtol=1e-7)
    np.testing.assert_array_equal(NoFading().quantile(u), 1.0)


def test_zero_width_intervals_carry_nothing():
    np.testing.assert_array_equal(hat_weights(NakagamiFading(1.0), np.zeros((1, 3))), 0.0)


@pytest.mark.parametrize("make", [lambda: NakagamiFading(0.4), lambda: NakagamiFading(1, 0), lambda: RiceFading(-1)])
def test_impossible_laws_are_refused(make):
    with pytest.raises(InvalidInputError, match=r"at least|positive"):
        make()
