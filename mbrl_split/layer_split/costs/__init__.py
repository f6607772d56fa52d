"""What a turn costs: profiles of devices, links and models, and the seconds, joules and bytes that follow from them."""

from mbrl_split.layer_split.costs.profiles import DEVICES, MODELS, RADIOS, Device, ModelSize, Radio
from mbrl_split.layer_split.costs.rules import cache_bits, layer_seconds, link_rate, memory_bytes, queued
from mbrl_split.layer_split.costs.turn import Prices, Turn

__all__ = [
    "DEVICES",
    "MODELS",
    "RADIOS",
    "Device",
    "ModelSize",
    "Prices",
    "Radio",
    "Turn",
    "cache_bits",
    "layer_seconds",
    "link_rate",
    "memory_bytes",
    "queued",
]
