"""Memory of level, load and fading: stationary laws and autocorrelations against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.context_process import (
    correlation_of,
    discharge,
    drive_by,
    joule_price,
    latent_of,
    level_of,
    load_matrix,
    next_latent,
    next_load,
    next_scatter,
    read_trace,
    scatter_memory,
    transition_matrix,
)
from mbrl_split.layer_split.sessions import ContextProcessSpec

NOISE = Column("noise", "RMS", 0.05, 1.0, "log")


def run(rho, n, steps, seed=0):
    rng = np.random.default_rng(seed)
    z = [rng.standard_normal(n)]
    for _ in range(steps - 1):
        z.append(next_latent(z[-1], rho, rng.standard_normal(n)))
    return np.array(z)


@pytest.mark.parametrize("marginal", ["uniform", "normal"])
def test_level_keeps_its_law_and_its_range(marginal):
    spec = ContextProcessSpec(marginal=marginal, correlation=0.9)
    z = run(0.9, 20_000, 4)
    unit = NOISE.to_unit(level_of(z, NOISE, spec))
    assert unit.min() >= 0
    assert unit.max() <= 1
    law = stats.uniform() if marginal == "uniform" else stats.truncnorm(-2, 2, loc=0.5, scale=0.25)
    for row in unit:
        assert stats.kstest(row, law.cdf).pvalue > 1e-3
    back = latent_of(level_of(z, NOISE, spec), NOISE, spec)
    np.testing.assert_allclose(back, z, atol=1e-6)


def test_level_remembers_as_a_gauss_markov_process_does():
    """corr of z is ρ^k; of the uniform quantiles (6/π)·asin(ρ^k/2), the Gaussian copula's rank correlation."""
    z = run(0.8, 200_000, 4)
    u = stats.norm.cdf(z)
    for k in (1, 2, 3):
        assert np.corrcoef(z[0], z[k])[0, 1] == pytest.approx(0.8**k, abs=0.01)
        assert np.corrcoef(u[0], u[k])[0, 1] == pytest.approx(6 / np.pi * np.arcsin(0.8**k / 2), abs=0.01)


def test_correlation_from_speed():
    assert correlation_of(ContextProcessSpec(speed=5, turn_seconds=10, decorrelation=50)) == pytest.approx(np.exp(-1))
    assert correlation_of(ContextProcessSpec(speed=5, correlation=0.3)) == 0.3


def test_transition_matrix_against_counting():
    matrix = transition_matrix(0.9, 6)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=2e-3)  # equally probable bins stay so
    z = run(0.9, 400_000, 2)
    bins = np.minimum((stats.norm.cdf(z) * 6).astype(int), 5)
    counts = np.zeros((6, 6))
    np.add.at(counts, (bins[0], bins[1]), 1)
    np.testing.assert_allclose(matrix, counts / counts.sum(axis=1, keepdims=True), atol=0.006)
    np.testing.assert_allclose(transition_matrix(0.0, 4), 0.25)


def test_load_chain():
    matrix = load_matrix(3, 0.7)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    rng = np.random.default_rng(0)
    level = np.repeat([0, 1, 2], 100_000)
    after = next_load(level, matrix, rng.random(level.size))
    for k in range(3):
        np.testing.assert_allclose(np.bincount(after[level == k], minlength=3) / 100_000, matrix[k], atol=0.006)
    assert (next_load([0, 0], load_matrix(1, 0.5), [0.1, 0.9]) == 0).all()


def test_scatter_is_stationary_and_refuses_fast_channels():
    r = scatter_memory(ContextProcessSpec(fading=True, m=1.0, doppler=0.05))
    assert r == pytest.approx(0.975478, abs=1e-6)
    rng = np.random.default_rng(0)
    g = rng.standard_normal((200_000, 2)) / np.sqrt(2)
    after = next_scatter(g, r, rng.standard_normal(g.shape))
    assert np.square(after).sum(axis=1).mean() == pytest.approx(1, abs=0.01)
    assert (g * after).sum(axis=1).mean() == pytest.approx(r, abs=0.01)
    with pytest.raises(InvalidInputError, match="negative"):
        scatter_memory(ContextProcessSpec(fading=True, speed=30.0, slot_seconds=0.01))


def test_battery():
    np.testing.assert_allclose(discharge([1.0, 0.001], [500.0, 500.0], 50_000.0), [0.99, 0.0])
    np.testing.assert_allclose(joule_price([1.0, 0.5, 0.0], 2.0), [1.0, 2.0, 3.0])


def test_a_drive_has_the_path_loss_and_the_memory_it_says():
    spec = ContextProcessSpec(speed=10.0, turn_seconds=1.0, decorrelation=50.0)
    bare = drive_by(400, spec, np.random.default_rng(0), shadowing=0.0)
    near, far = np.hypot(30, 0), np.hypot(30, 200)
    assert np.ptp(bare) == pytest.approx(31.9 * np.log10(far / near), abs=0.8)  # places are 10 m apart
    np.testing.assert_allclose(bare[:360], bare[40:], atol=1e-9)  # a station every 400 m, 10 m a turn
    assert np.median(bare) == pytest.approx(0, abs=1e-9)
    shadow = drive_by(40_000, spec, np.random.default_rng(0)) - drive_by(
        40_000, spec, np.random.default_rng(0), shadowing=0.0
    )
    assert shadow.std() == pytest.approx(8.2, abs=0.4)
    assert np.corrcoef(shadow[1:], shadow[:-1])[0, 1] == pytest.approx(np.exp(-0.2), abs=0.02)


def test_traces_are_read_and_refused(tmp_path):
    good = tmp_path / "trace.csv"
    good.write_text("time,snr_db\n0,12.5\n1,-3\n", encoding="utf-8")
    np.testing.assert_array_equal(read_trace(good), [12.5, -3.0])
    for text, what in (("time\n0\n1\n", "snr_db"), ("snr_db\n1\nnan\n", "line 3"), ("snr_db\n1\nx\n", "line 3")):
        bad = tmp_path / "bad.csv"
        bad.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInputError, match=what):
            read_trace(bad)
    with pytest.raises(InvalidInputError, match="cannot read"):
        read_trace(tmp_path / "missing.csv")
