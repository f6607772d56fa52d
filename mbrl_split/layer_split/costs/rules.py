"""Seconds, bits and bytes from a profile, one formula per function."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.layer_split.costs.profiles import Device, ModelSize, Radio

Array = NDArray[np.float64]


def layer_seconds(device: Device, size: ModelSize, new: ArrayLike, cached: ArrayLike) -> Array:
    """Seconds of one layer in one forward pass: the slower of computing and of reading memory (the roofline).

    Operations: 2 per parameter and token, and 4·d per token and attended position (scores, then values). Bytes: the
    layer's weights once, and 16-bit keys and values of the attended positions.

    Args:
        device: Who computes.
        size: The model.
        new: Tokens of the pass: the prompt in prefill, 1 in decoding.
        cached: Positions they attend to.
    """
    n, t = np.asarray(new, dtype=np.float64), np.asarray(cached, dtype=np.float64)
    operations = n * (2 * size.layer_parameters + 4 * size.d * t)
    read = size.weight_bytes * size.layer_parameters + 2 * size.d_kv * t * 2
    return np.maximum(operations / device.flops, read / device.bandwidth)


def link_rate(radio: Radio, snr: ArrayLike, up: bool) -> Array:
    """Bits per second at a mean SNR (linear) of the uplink: the attenuated Shannon rate of 3GPP TR 36.942.

    share·B·log2(1 + γ), at most ``most``·B; the downlink has a share and a lead in SNR of its own.
    """
    gamma = np.asarray(snr, dtype=np.float64) * (1.0 if up else 10 ** (radio.down_gain_db / 10))
    share = radio.up if up else radio.down
    return radio.bandwidth_hz * np.minimum(share * np.log2(1 + gamma), radio.most)


def queued(seconds: ArrayLike, load: ArrayLike) -> Array:
    """Mean time in a processor-sharing queue of utilisation ``load``: seconds/(1 − load) (M/G/1-PS, Kleinrock 1976)."""
    return np.asarray(np.asarray(seconds) / (1 - np.asarray(load)))


def cache_bits(size: ModelSize, layers: ArrayLike, tokens: ArrayLike, bits: int) -> Array:
    """Bits of the keys and values of some layers at some tokens: 2·d_kv·layers·tokens numbers."""
    return np.asarray(2.0 * size.d_kv * np.asarray(layers) * np.asarray(tokens) * bits)


def memory_bytes(size: ModelSize, layers: ArrayLike, tokens: ArrayLike) -> Array:
    """Bytes of the weights of some layers and of their 16-bit cache at some tokens."""
    per_layer = size.weight_bytes * size.layer_parameters + 2.0 * size.d_kv * 2 * np.asarray(tokens)
    return np.asarray(np.asarray(layers) * per_layer)
