"""Learned stand-ins for a costly measurement, each with epistemic and aleatoric uncertainty."""

from mbrl_split.surrogates.base import Prediction, Surrogate
from mbrl_split.surrogates.gp import GPSurrogate
from mbrl_split.surrogates.loading import load_surrogate
from mbrl_split.surrogates.mlp import MLPSurrogate
from mbrl_split.surrogates.scoring import crps, score
from mbrl_split.surrogates.tabulated import TabulatedSurrogate

__all__ = [
    "GPSurrogate",
    "MLPSurrogate",
    "Prediction",
    "Surrogate",
    "TabulatedSurrogate",
    "crps",
    "load_surrogate",
    "score",
]
