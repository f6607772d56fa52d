"""Learned stand-ins for a costly measurement, each with epistemic and aleatoric uncertainty."""

from mbrl_split.surrogates.base import Prediction, Surrogate
from mbrl_split.surrogates.boosting import XGBoostSurrogate
from mbrl_split.surrogates.ensemble import EnsembleSurrogate
from mbrl_split.surrogates.estimator import SklearnSurrogate
from mbrl_split.surrogates.gp import GPSurrogate
from mbrl_split.surrogates.mlp import MLPSurrogate
from mbrl_split.surrogates.recalibrated import RecalibratedSurrogate
from mbrl_split.surrogates.scoring import crps, score
from mbrl_split.surrogates.storage import load_surrogate
from mbrl_split.surrogates.tabulated import TabulatedSurrogate

__all__ = [
    "EnsembleSurrogate",
    "GPSurrogate",
    "MLPSurrogate",
    "Prediction",
    "RecalibratedSurrogate",
    "SklearnSurrogate",
    "Surrogate",
    "TabulatedSurrogate",
    "XGBoostSurrogate",
    "crps",
    "load_surrogate",
    "score",
]
