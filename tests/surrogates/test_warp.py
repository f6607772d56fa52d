"""The warped target scale and the way back."""

import numpy as np
import pytest
from scipy import integrate

from mbrl_split.surrogates.noise import NoiseModel, Shape
from mbrl_split.surrogates.warp import Warp, WarpedPrediction, choose_scale

GAUSSIAN = Shape.fit(np.empty(0), k=201)


def warp(scale=0.5):
    return Warp(scale, centre=0.8, spread=1.4, low=-50.0, high=50.0)


@pytest.mark.parametrize("scale", [0.5, np.inf])
def test_there_and_back(scale):
    y = np.array([-0.1, 0.0, 0.3, 7.0])
    np.testing.assert_allclose(warp(scale).to_target(warp(scale).to_latent(y)), y, atol=1e-12)
    step = 1e-6
    slope = (warp(scale).to_latent(y + step) - warp(scale).to_latent(y - step)) / (2 * step)
    np.testing.assert_allclose(warp(scale).slope(y), slope, rtol=1e-6)


def test_the_mean_is_integrated_and_not_read_off_the_median():
    # E[s·sinh(a + b·Z)] = s·sinh(a)·exp(b²/2), with Z the sum of posterior and noise.
    w = warp()
    mean, epistemic, noise = np.array([0.2, 1.1]), np.array([0.3, 0.1]), np.array([0.2, 0.5])
    p = WarpedPrediction.of(mean, epistemic, noise, w, GAUSSIAN)
    a, b = mean * w.spread + w.centre, np.hypot(epistemic, noise) * w.spread
    np.testing.assert_allclose(p.mean, w.scale * np.sinh(a) * np.exp(b**2 / 2), rtol=3e-3)
    assert (p.mean > 1.05 * w.to_target(mean)).all()  # the median would be far too low
    variance = w.scale**2 / 2 * (np.exp(b**2) - 1) * (np.exp(b**2) * np.cosh(2 * a) + 1)
    np.testing.assert_allclose(p.std, np.sqrt(variance), rtol=3e-2)


def test_the_parts_of_the_variance_are_those_of_its_law():
    rng = np.random.default_rng(0)
    w = warp()
    p = WarpedPrediction.of(np.array([0.6]), np.array([0.3]), np.array([0.25]), w, GAUSSIAN)
    z = 0.6 + 0.3 * rng.standard_normal(4000)[:, None]
    y = w.to_target(z + 0.25 * rng.standard_normal((4000, 400)))
    assert p.std_epistemic[0] == pytest.approx(y.mean(axis=1).std(), rel=0.03)
    assert p.std_aleatoric[0] == pytest.approx(np.sqrt(y.var(axis=1).mean()), rel=0.03)


def test_density_integrates_to_one_and_is_the_slope_of_the_cdf():
    rng = np.random.default_rng(1)
    shape = Shape.fit(rng.exponential(size=400) - 1)
    p = WarpedPrediction.of(np.array([0.3]), np.array([0.2]), np.array([0.4]), warp(), shape)
    grid = np.linspace(-5, 40, 200001)
    density = np.array([np.exp(p.log_density(np.array([y])))[0] for y in grid[::50]])
    assert integrate.trapezoid(density, grid[::50]) == pytest.approx(1.0, abs=0.01)
    for q in (0.03, 0.4, 0.9):
        assert p.cdf(p.quantile(q))[0] == pytest.approx(q, abs=1e-9)


def test_quantiles_follow_skewed_and_bimodal_noise():
    rng = np.random.default_rng(2)
    two = np.where(rng.random(4000) < 0.3, 2.0, -1.0) + 0.1 * rng.standard_normal(4000)
    shape = Shape.fit((two - two.mean()) / two.std())
    p = WarpedPrediction.of(np.zeros(1), np.zeros(1), np.array([two.std()]), Warp(np.inf, 0, 1, -9, 9), shape)
    assert p.quantile(0.25)[0] == pytest.approx(np.quantile(two - two.mean(), 0.25), abs=0.15)
    assert p.quantile(0.85)[0] == pytest.approx(np.quantile(two - two.mean(), 0.85), abs=0.15)
    assert p.quantile(0.5)[0] < -0.6  # a normal law would have its median at its mean, 0


@pytest.mark.parametrize(("multiplicative", "affine"), [(True, False), (False, True)])
def test_the_scale_fits_the_noise(multiplicative, affine):
    rng = np.random.default_rng(3)
    c = rng.uniform(-1.7, 1.7, (200, 1))
    noise = rng.standard_normal(200)
    y = np.exp(2.5 * c[:, 0]) * np.exp(0.2 * noise) if multiplicative else 3 * c[:, 0] + 0.4 * noise
    assert np.isinf(choose_scale(c, y)) == affine
    assert choose_scale(c, 1024 * y) == 1024 * choose_scale(c, y)


def test_the_noise_model_finds_noise_and_leaves_the_rest_to_the_posterior():
    rng = np.random.default_rng(4)
    c, mean = rng.uniform(-1.7, 1.7, (4000, 2)), np.zeros(4000)
    true = 0.05 * np.exp(1.2 * c[:, 0])
    known = np.full(4000, 0.02)
    residuals = np.sqrt(true + known) * rng.standard_normal(4000)
    model = NoiseModel.fit(c, mean, known, residuals, np.ones(4000))
    found = model.variance(c, mean, np.ones(4000))
    assert np.median(np.abs(np.log(found / true))) < 0.15
    tiny = NoiseModel.fit(c, mean, known, residuals, np.full(4000, 1e-7)).variance(c, mean, np.full(4000, 1e-7))
    assert np.median(np.abs(np.log(tiny / true))) < 0.15  # whatever the scale of the base
