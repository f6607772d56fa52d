"""What the radio does to a hidden state: noise, fading, loss, quantisation.

    y = Radio(noise_std=0.5, fading=Nakagami(m=1), csi="receiver")(hidden, seeds=[0, 1, 2, 3])

``hidden`` is (batch, tokens, d) on any device; each batch row is one transmission with its own seed. Equal seeds give
common random numbers. :mod:`mbrl_split.channels.theory` holds the closed forms (outage, capacity, error rates).
"""

from __future__ import annotations

from mbrl_split.channels.base import Channel, Realisation
from mbrl_split.channels.chain import Chain
from mbrl_split.channels.erasure import Erasure
from mbrl_split.channels.fading import Fading, Nakagami, Rayleigh, Rice
from mbrl_split.channels.identity import Identity
from mbrl_split.channels.quantize import Quantize
from mbrl_split.channels.radio import Radio

__all__ = [
    "Chain",
    "Channel",
    "Erasure",
    "Fading",
    "Identity",
    "Nakagami",
    "Quantize",
    "Radio",
    "Rayleigh",
    "Realisation",
    "Rice",
]
