"""Exact integration over the fading law: :mod:`mbrl_split.channels.fading_integral`, under the room that uses it most."""

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
