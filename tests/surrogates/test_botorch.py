"""The Gaussian process whose hyper-parameters BoTorch finds."""

import sys

import numpy as np
import pytest

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates import GPSurrogate
from mbrl_split.testing import check_surrogate


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    return X, np.sin(3 * X[:, 0]) + X[:, 1] + 0.05 * rng.standard_normal(n)


def test_conforms():
    pytest.importorskip("botorch")
    check_surrogate(GPSurrogate(library="botorch"))


def test_both_libraries_find_the_noise_and_much_the_same_function():
    pytest.importorskip("botorch")
    (X, y), query = rows(80), rows(50, seed=1)[0]
    ours, theirs = (GPSurrogate(library=name, warp="none").fit(X, y) for name in ("scipy", "botorch"))
    assert not np.array_equal(ours._hyper, theirs._hyper)
    a, b = ours.predict(query), theirs.predict(query)
    np.testing.assert_allclose(a.mean, b.mean, atol=0.03)
    for p in (a, b):
        np.testing.assert_allclose(p.std_aleatoric, 0.05, rtol=0.4)
        assert (p.std_epistemic < 0.05).all()


def test_known_errors_are_not_learned_as_noise():
    pytest.importorskip("botorch")
    X, y = rows(60)
    error = np.where(np.arange(60) < 30, 0.5, 0.0)
    y = y + error * np.random.default_rng(2).standard_normal(60)
    told, untold = (
        GPSurrogate(library="botorch", warp="none").fit(X, y, std_error=e)._hyper[-1] for e in (error, None)
    )
    assert told < 0.5 * untold


def test_without_botorch_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch.fit", None)
    with pytest.raises(InvalidInputError, match=r"mbrl-split\[botorch\]"):
        GPSurrogate(library="botorch").fit(*rows(20))
    with pytest.raises(InvalidInputError, match="library is"):
        GPSurrogate(library="gpflow")
