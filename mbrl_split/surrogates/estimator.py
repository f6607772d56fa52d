"""Any scikit-learn regressor as a surrogate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown
from mbrl_split.surrogates.ensemble import BaggedSurrogate
from mbrl_split.surrogates.prediction import Array

SAVABLE = {
    "LinearRegression": "sklearn.linear_model",
    "Ridge": "sklearn.linear_model",
    "BayesianRidge": "sklearn.linear_model",
    "HuberRegressor": "sklearn.linear_model",
    "KernelRidge": "sklearn.kernel_ridge",
    "SVR": "sklearn.svm",
    "KNeighborsRegressor": "sklearn.neighbors",
    "DecisionTreeRegressor": "sklearn.tree",
    "RandomForestRegressor": "sklearn.ensemble",
    "ExtraTreesRegressor": "sklearn.ensemble",
    "GradientBoostingRegressor": "sklearn.ensemble",
    "HistGradientBoostingRegressor": "sklearn.ensemble",
}
"""Estimators that can be saved: by name, parameters and rows; loading trains them again, which gives the same bits."""


@dataclass(eq=False)
class SklearnSurrogate(BaggedSurrogate):
    """A bag of clones of any scikit-learn regressor, with a noise model fitted to their out-of-bag residuals.

    A bootstrap repeats rows, so the estimator needs no ``sample_weight``; known errors of rows are used where its
    ``fit`` takes one. Estimators listed in :data:`SAVABLE` can be saved as plain data; others say that they cannot.

    Args:
        estimator: A regressor; it is cloned, never fitted itself; its ``random_state`` follows from ``seed``. Or plain
            data, ``{"name": "Ridge", "parameters": {"alpha": 2.0}}``, for those that can be saved.
        members: How many clones, at least 2.
        warp: See :class:`~mbrl_split.surrogates.warped.WarpedSurrogate`.
        seed: Everything random follows from it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import SklearnSurrogate
        >>> from sklearn.neighbors import KNeighborsRegressor
        >>> X = np.random.default_rng(0).random((100, 2))
        >>> surrogate = SklearnSurrogate(KNeighborsRegressor(3)).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
        >>> bool(abs(surrogate.predict([[0.5, 0.5]]).mean[0] - 1.4975) < 0.2)
        True
    """

    estimator: Any
    _: KW_ONLY
    members: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._estimator = _build(self.estimator) if isinstance(self.estimator, Mapping) else self.estimator
        if not (hasattr(self._estimator, "fit") and hasattr(self._estimator, "predict")):
            raise InvalidInputError(f"estimator is a scikit-learn regressor, not a {type(self.estimator).__name__}")
        self.estimator = _describe(self._estimator)

    def _train(self, c: Array, z: Array, counts: Array, weights: Array, *, warm: bool) -> None:
        self._bag: list[Any] = []
        for k, count in enumerate(counts.astype(np.int64)):
            member = clone(self._estimator)
            if "random_state" in member.get_params():
                member.set_params(random_state=(self.seed + k) % 2**31)
            rows = np.repeat(np.arange(len(z)), count)
            rows = np.resize(rows, max(len(rows), 10))  # some estimators refuse to learn from very few rows
            weighted = np.ptp(weights) > 0 and has_fit_parameter(member, "sample_weight")
            keywords = {"sample_weight": weights[rows]} if weighted else {}
            self._bag.append(member.fit(c[rows], z[rows], **keywords))

    def _answers(self, c: Array) -> tuple[Array, float]:
        return np.array([np.asarray(m.predict(c), dtype=np.float64).reshape(len(c)) for m in self._bag]), 1.0

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        rows = self._learned(self._rows)
        self._learn(*self._latent_rows(rows), rows.groups, warm=False)  # settings and rows say it all


def _describe(estimator: Any) -> Any:
    """Name and parameters where these are plain data and the class is known to be exact; else the estimator itself."""
    name = type(estimator).__name__
    if SAVABLE.get(name) != ".".join(type(estimator).__module__.split(".")[:2]):
        return estimator
    parameters = {k: v for k, v in estimator.get_params(deep=False).items() if k != "random_state"}
    try:
        json.dumps(parameters)
    except TypeError:
        return estimator
    return {"name": name, "parameters": parameters}


def _build(description: Mapping[str, Any]) -> Any:
    name = description.get("name")
    if name not in SAVABLE:
        raise InvalidInputError(unknown("estimator", str(name), SAVABLE))
    return getattr(import_module(SAVABLE[name]), name)(**description.get("parameters", {}))
