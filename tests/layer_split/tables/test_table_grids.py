"""Reading between the knots: one realisation and the exact expectation agree, and both are what they say."""

import numpy as np
import pytest
from scipy import special

from mbrl_split.layer_split.tables.grids import GainGrid, LossGrid, RatioGrid, cubic_resample, shape_of

RATIOS = tuple(np.geomspace(0.1, 100, 16))
RATIO = RatioGrid(RATIOS)
GAIN = GainGrid(tuple(np.geomspace(0.03, 3, 9)), tuple(np.linspace(0, 3.5, 15)))


def saturating(s):
    s = np.asarray(s, dtype=float)
    return np.where(np.isinf(s), 6.0, 6 / (1 + (2 / np.maximum(s, 1e-9)) ** 2))


def read(grid, values, intensity, m, u):
    gains, index, weight = grid.locate(np.asarray(intensity), m, u)
    return gains, ((grid.refinement @ values)[index] * weight).sum(-1)


def test_local_cubics_reproduce_cubics_and_their_rows_sum_to_one():
    knots = np.array([-2.0, -1.1, 0.3, 1.0, 2.5, 4.0])
    points = np.linspace(-2, 4, 50)
    matrix = cubic_resample(knots, points)
    np.testing.assert_allclose(matrix.sum(1), 1)
    np.testing.assert_allclose(matrix @ (knots**3 - 2 * knots), points**3 - 2 * points, atol=1e-12)
    assert np.abs(matrix @ knots**4 - points**4).max() > 0.1
    np.testing.assert_allclose(cubic_resample(knots, knots), np.eye(6), atol=1e-12)
    np.testing.assert_allclose(cubic_resample(knots[:2], points) @ knots[:2], points)
    np.testing.assert_array_equal(cubic_resample(knots[:1], points), 1.0)


def test_sixteen_ratios_reproduce_a_smooth_damage_curve_everywhere():
    values = saturating([*RATIOS, np.inf])
    s = np.array([1e-4, 0.02, 0.1, 0.37, 1.0, 2.2, 9.0, 99.0, 100.0, 300.0, 1e9])
    _, damage = read(RATIO, values, s, None, np.zeros((len(s), 1)))
    np.testing.assert_allclose(damage[:, 0], saturating(s), rtol=0.006)
    # Ten are enough for five percent, of a curve that bends more sharply too.
    few = RatioGrid(tuple(np.geomspace(0.15, 60, 10)))
    fine = np.geomspace(0.15, 60, 300)
    for curve in (saturating, lambda s: 6 * (1 - np.exp(-np.minimum(np.square(s), 700)))):
        _, damage = read(few, curve([*few.ratios, np.inf]), fine, None, np.zeros((300, 1)))
        np.testing.assert_allclose(damage[:, 0], curve(fine), rtol=0.05)
    at_zero = read(RATIO, values, [0.0], None, np.zeros((1, 1)))[1]
    assert at_zero[0, 0] == 0


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("intensity", [0.03, 0.4, 3.0])
def test_the_mean_of_many_realisations_is_the_exact_expectation(m, intensity):
    n = 40_000
    u = (np.random.default_rng(3).permutation(n) + 0.5) / n  # stratified: the mean errs far less than 1/sqrt(n)
    values = saturating([*RATIOS, np.inf])
    _, damage = read(RATIO, values, np.full(n, intensity), np.full(n, m), u[:, None])
    exact = RATIO.weights(np.array([intensity]), np.array([m])) @ values
    assert damage.mean() == pytest.approx(exact[0], rel=2e-3)
    raw = np.random.default_rng(4).random((9, 15)).ravel()
    _, damage = read(GAIN, raw, np.full(n, intensity), np.full(n, m), u[:, None])
    exact = GAIN.weights(np.array([intensity]), np.array([m])) @ raw
    assert damage.mean() == pytest.approx(exact[0], rel=2e-3)


def test_knots_are_read_back():
    values = np.random.default_rng(5).random(17)
    got = read(RATIO, values, RATIOS, None, np.zeros((16, 1)))[1]
    np.testing.assert_allclose(got[:, 0], values[:16], rtol=1e-9)
    raw = np.random.default_rng(6).random((9, 15))
    noise = np.repeat(GAIN.noises, 15)
    # Gains are drawn, not given: ask for the uniforms that give them (m = 1).
    u = 1 - np.exp(-(np.tile(GAIN.gains, 9) ** 2))
    gains, got = read(GAIN, raw.ravel(), noise, np.ones(len(noise)), u[:, None])
    np.testing.assert_allclose(gains[:, 0], np.tile(GAIN.gains, 9), atol=1e-7)
    np.testing.assert_allclose(got[:, 0], raw.ravel(), atol=1e-5)


def test_a_snr_is_a_ratio_in_disguise():
    db = RatioGrid(RATIOS, in_db=True)
    m = np.array([0.5, 3.0])
    np.testing.assert_allclose(db.weights(np.array([0.0, 6.0]), m), RATIO.weights(np.array([1.0, 10**-0.3]), m))


def test_loss_curves_start_at_zero_and_outages_follow_the_closed_form():
    grid = LossGrid((0.05, 0.1, 0.2, 0.5, 1.0))
    loss = np.array([0.0, 0.1, 0.33, 1.0])
    np.testing.assert_allclose(grid.weights(loss, None) @ np.asarray(grid.losses), loss, atol=1e-12)
    packet = LossGrid(grid.losses, outage_db=0.0)
    got = packet.weights(np.array([10.0, 10.0]), np.array([1.0, 2.0])) @ np.asarray(grid.losses)
    np.testing.assert_allclose(got, [0.0951626, 0.0175231], atol=1e-6)
    assert special.gammainc(1.0, 0.1) == pytest.approx(0.0951626, abs=1e-7)
    bits = LossGrid((2.0, 4.0, 8.0), from_zero=False)
    np.testing.assert_array_equal(bits.weights(np.array([4.0, 8.0]), None), np.eye(3)[1:])


def test_realisations_without_a_gain_say_so():
    gains, index, weight = LossGrid((0.5, 1.0)).locate(np.array([0.2]), None, np.zeros((1, 3)))
    assert np.isnan(gains).all()
    assert index.shape == weight.shape == (1, 3, 2)


@pytest.mark.parametrize("grid", [RATIO, GAIN, LossGrid((0.1, 0.5, 1.0), outage_db=0.0)])
def test_rayleigh_is_rice_without_a_line_of_sight_and_rice_factors_come_in_arrays(grid):
    intensity = np.array([0.1, 0.7, 2.0])
    rayleigh = grid.weights(intensity, np.ones(3))
    np.testing.assert_allclose(grid.weights(intensity, shape_of("k", np.zeros(3))), rayleigh, atol=1e-7)
    together = grid.weights(intensity, shape_of("k", np.array([0.0, 3.0, 12.0])))
    for i, k in enumerate((0.0, 3.0, 12.0)):
        alone = grid.weights(intensity[i : i + 1], shape_of("k", np.array([k])))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-12)
    assert np.abs(together[1] - rayleigh[1]).max() > 0.01


def test_rice_realisations_average_to_the_exact_expectation():
    n = 4_000
    u = (np.random.default_rng(3).permutation(n) + 0.5) / n
    values = saturating([*RATIOS, np.inf])
    _, damage = read(RATIO, values, np.full(n, 0.4), shape_of("k", np.full(n, 4.0)), u[:, None])
    exact = RATIO.weights(np.array([0.4]), shape_of("k", np.array([4.0]))) @ values
    assert damage.mean() == pytest.approx(exact[0], rel=3e-3)
