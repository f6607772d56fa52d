"""Profiles of devices, links and models: a source for every number, and what is an assumption says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Device:
    """Something that runs layers.

    Attributes:
        flops: Sustained operations per second, FLOP/s.
        bandwidth: Sustained memory bandwidth, bytes/s.
        watts: Power drawn above idle while it computes, W.
        memory: Bytes granted to weights and cache.
        sources: Where each figure is from, by the name of its field; "assumption" begins what is ours.
    """

    flops: float
    bandwidth: float
    watts: float
    memory: float
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Radio:
    """A link between device and server.

    Attributes:
        bandwidth_hz: Hz.
        up: Share of Shannon's rate that the uplink reaches.
        down: The same of the downlink.
        most: Largest spectral efficiency, bit/s/Hz.
        down_gain_db: By how much the downlink's SNR is above the uplink's, dB.
        round_trip: Seconds per message and its answer.
        overhead: Further seconds per message: scheduling grant, headers, the two software stacks.
        send_watts: Power of the device's radio while sending, W.
        receive_watts: The same while receiving, W.
        sources: Where each figure is from, by the name of its field; "assumption" begins what is ours.
    """

    bandwidth_hz: float
    up: float
    down: float
    most: float
    down_gain_db: float
    round_trip: float
    overhead: float
    send_watts: float
    receive_watts: float
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a causal language model.

    Attributes:
        d: Width of the hidden state.
        d_kv: Width of the keys (and of the values) of a layer: key-value heads times head width.
        layer_parameters: Parameters of one layer.
        weight_bytes: Bytes per parameter.
        sources: Where each figure is from, by the name of its field; "assumption" begins what is ours.
    """

    d: int
    d_kv: int
    layer_parameters: int
    weight_bytes: float
    sources: Mapping[str, str] = field(default_factory=dict)


# A share of the data sheet's peak is what software reaches. Half of it, for compute and bandwidth alike, is our
# assumption for all devices. A check from outside: a 4-bit model of 1.5 billion parameters (0.9 GB) runs at 22.6 (hot)
# to 40 tokens/s (cold) on an iPhone 16 Pro (arXiv 2603.23640), hence at 20 to 36 GB/s of its 60.
_FIGURES = json.loads((Path(__file__).parent / "profiles.json").read_text(encoding="utf-8"))


def _profiles(kind: Callable[..., T], table: dict[str, dict[str, tuple[float, str]]]) -> dict[str, T]:
    """Profiles by name, from (figure, source) by field."""
    return {
        name: kind(
            **{field: figure for field, (figure, _) in figures.items()},
            sources={field: source for field, (_, source) in figures.items()},
        )
        for name, figures in table.items()
    }


DEVICES = _profiles(Device, _FIGURES["devices"])
"""The devices and servers that ship, by name."""
RADIOS = _profiles(Radio, _FIGURES["radios"])
"""The links that ship, by name."""
MODELS = _profiles(ModelSize, _FIGURES["models"])
"""The sizes of models that ship, by name."""
