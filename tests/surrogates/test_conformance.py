"""Every shipped surrogate keeps the contract, and the suite notices those that do not."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import SURROGATES
from mbrl_split.surrogates import (
    EnsembleSurrogate,
    GPSurrogate,
    MLPSurrogate,
    RecalibratedSurrogate,
    SklearnSurrogate,
    TabulatedSurrogate,
    XGBoostSurrogate,
)
from mbrl_split.testing import check_surrogate

SHIPPED = {
    "mlp": lambda: MLPSurrogate((32, 32), steps=200),
    "ensemble": lambda: EnsembleSurrogate(hidden=(32, 32), steps=300),
    "gp": GPSurrogate,
    "xgboost": lambda: XGBoostSurrogate(5, rounds=40),
    "sklearn": lambda: SklearnSurrogate(KNeighborsRegressor(3), members=5),
    "tabulated": lambda: TabulatedSurrogate(GPSurrogate(), 65),
    "recalibrated": lambda: RecalibratedSurrogate(GPSurrogate()),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_surrogates_conform(name):
    check_surrogate(SHIPPED[name]())


def test_registry_names_lead_to_classes_that_build_without_arguments():
    for name in SURROGATES:
        if name.startswith("fading-"):
            continue
        assert SURROGATES[name]().columns is None


class Forgetful(GPSurrogate):
    """Breaks one promise: its draws contain the noise."""

    def sample(self, X, n, rng):
        p = self.predict(X)
        return p.mean + p.std * rng.standard_normal((n, len(p.mean)))


class RowWise(GPSurrogate):
    """Breaks one promise: groups are ignored."""

    def fit(self, X, y, *, std_error=None, groups=None, columns=None):
        return super().fit(X, y, std_error=std_error, columns=columns)


class Generous(GPSurrogate):
    """Breaks one promise: targets that are not finite are quietly dropped."""

    def fit(self, X, y, **keywords):
        X, y = np.asarray(X), np.asarray(y)
        keep = np.isfinite(y) if y.ndim == 1 and len(y) == len(X) else slice(None)
        return super().fit(X[keep], y[keep], **keywords)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [(Forgetful, "noise kept out"), (RowWise, "held out together"), (Generous, "was accepted")],
)
def test_the_suite_notices(broken, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_surrogate(broken)


def test_an_estimator_that_cannot_be_saved_says_so(tmp_path):
    class Own(Ridge):
        pass

    X = np.random.default_rng(0).random((20, 2))
    surrogate = SklearnSurrogate(Own()).fit(X, X.sum(axis=1))
    with pytest.raises(InvalidInputError, match="cannot be saved"):
        surrogate.save(tmp_path / "s")
    assert not (tmp_path / "s").exists()
