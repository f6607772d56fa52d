"""Exact integration over the fading law, from :mod:`mbrl_split.channels.fading_integral`."""

from mbrl_split.channels.fading_integral import (
    FadingLaw,
    NakagamiFading,
    NoFading,
    RiceFading,
    gain_weights,
    hat_weights,
    ratio_weights,
)

__all__ = [
    "FadingLaw",
    "NakagamiFading",
    "NoFading",
    "RiceFading",
    "gain_weights",
    "hat_weights",
    "ratio_weights",
]
