"""Profiles of devices, links and models: a source for every number, and what is an assumption says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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


GB = 1e9

# A share of the data sheet's peak is what software reaches. Half of it, for compute and bandwidth alike, is our
# assumption for all devices. A check from outside: a 4-bit model of 1.5 billion parameters (0.9 GB) runs at 22.6 (hot)
# to 40 tokens/s (cold) on an iPhone 16 Pro (arXiv 2603.23640), hence at 20 to 36 GB/s of its 60.
HALF = "half of the peak (assumption)"

DEVICES: dict[str, Device] = {
    "phone": Device(
        flops=1.4e12,
        bandwidth=38.4 * GB,
        watts=5.0,
        memory=4 * GB,
        sources={
            "flops": f"Snapdragon 8 Gen 3: GPU of about 2.8 TFLOP/s (reviews; the maker publishes none); {HALF}",
            "bandwidth": f"Snapdragon 8 Gen 3 product brief: LPDDR5X at 4,800 MHz, 64 bit, hence 76.8 GB/s; {HALF}",
            "watts": "assumption: what a phone sheds for minutes without throttling",
            "memory": "assumption: a third of 12 GB",
        },
    ),
    "laptop": Device(
        flops=1.8e12,
        bandwidth=50 * GB,
        watts=20.0,
        memory=8 * GB,
        sources={
            "flops": f"Apple M2, maker's announcement of June 2022: GPU of 3.6 TFLOP/s; {HALF}",
            "bandwidth": f"same announcement: 100 GB/s; {HALF}",
            "watts": "assumption",
            "memory": "assumption: half of 16 GB",
        },
    ),
    "single-board": Device(
        flops=0.077e12,
        bandwidth=8.5 * GB,
        watts=6.0,
        memory=4 * GB,
        sources={
            "flops": "Raspberry Pi 5 product brief: four Cortex-A76 at 2.4 GHz; 16 FLOP per cycle (two 128-bit "
            f"multiply-adds), hence 154 GFLOP/s; {HALF}",
            "bandwidth": f"same brief: LPDDR4X-4267, 32 bit, hence 17.1 GB/s; {HALF}",
            "watts": "assumption; its power supply gives 27 W, peripherals included",
            "memory": "assumption: half of 8 GB",
        },
    ),
    "l4": Device(
        flops=60e12,
        bandwidth=150 * GB,
        watts=72.0,
        memory=24 * GB,
        sources={
            "flops": f"NVIDIA L4 data sheet: 121 TFLOP/s FP16 without sparsity; {HALF}",
            "bandwidth": f"same data sheet: 300 GB/s; {HALF}",
            "watts": "same data sheet",
            "memory": "same data sheet",
        },
    ),
    "orin": Device(
        flops=5.3e12,
        bandwidth=102.4 * GB,
        watts=60.0,
        memory=32 * GB,
        sources={
            "flops": f"NVIDIA Jetson AGX Orin 64 GB data sheet: 5.3 TFLOP/s FP32, twice that in FP16; {HALF}",
            "bandwidth": f"same data sheet: 204.8 GB/s; {HALF}",
            "watts": "same data sheet: highest power mode",
            "memory": "assumption: half of 64 GB",
        },
    ),
}

_SHARE = "3GPP TR 36.942 annex A: the attenuated Shannon rate of a link with adaptive coding"
_SEND = "23 dBm (power class 3, 3GPP TS 38.101-1) at 25 % efficiency, and 1 W of baseband: assumptions but the 23 dBm"

RADIOS: dict[str, Radio] = {
    "5g": Radio(
        bandwidth_hz=20e6,
        up=0.4,
        down=0.6,
        most=7.4,
        down_gain_db=10.0,
        round_trip=0.030,
        overhead=0.005,
        send_watts=1.8,
        receive_watts=1.2,
        sources={
            "bandwidth_hz": "assumption: a user's share of a 100 MHz carrier",
            "up": _SHARE,
            "down": _SHARE,
            "most": "3GPP TS 38.214 table 5.1.3.1-2: highest entry for 256-QAM",
            "down_gain_db": "assumption: the station sends with more power than the device",
            "round_trip": "one-way delays measured in a public network, below 7 ms down and up to 18 ms up "
            "(M. Kottkamp, Rohde & Schwarz, 2022), and some way to the server; only 5 % of mobile users see less "
            "than 20 ms (arXiv 2507.18834)",
            "overhead": "assumption: scheduling grant, headers, two software stacks",
            "send_watts": _SEND,
            "receive_watts": "assumption",
        },
    ),
    "lte": Radio(
        bandwidth_hz=10e6,
        up=0.4,
        down=0.6,
        most=4.4,
        down_gain_db=10.0,
        round_trip=0.050,
        overhead=0.010,
        send_watts=1.8,
        receive_watts=1.2,
        sources={
            "bandwidth_hz": "assumption: a user's share of a 20 MHz carrier",
            "up": _SHARE,
            "down": _SHARE,
            "most": "3GPP TR 36.942 annex A: 4.4 bit/s/Hz",
            "down_gain_db": "assumption, as for 5g",
            "round_trip": "assumption: longer than 5g by the grants of a 1 ms frame structure",
            "overhead": "assumption",
            "send_watts": _SEND,
            "receive_watts": "assumption",
        },
    ),
    "wifi": Radio(
        bandwidth_hz=40e6,
        up=0.5,
        down=0.5,
        most=6.7,
        down_gain_db=0.0,
        round_trip=0.008,
        overhead=0.002,
        send_watts=1.3,
        receive_watts=0.9,
        sources={
            "bandwidth_hz": "IEEE 802.11ac: one of its channel widths",
            "up": "assumption: half is lost to contention and headers",
            "down": "assumption: the same",
            "most": "IEEE 802.11ac: 256-QAM at rate 5/6, 8·5/6 bit/s/Hz",
            "down_gain_db": "assumption: both ends send alike",
            "round_trip": "assumption; with the overhead 10 ms, the median of one campus network after tuning "
            "(C. Pei et al., INFOCOM 2016; over all of that campus half of the packets took more than 20 ms)",
            "overhead": "assumption",
            "send_watts": "assumption",
            "receive_watts": "assumption",
        },
    ),
}

MODELS: dict[str, ModelSize] = {
    "smollm2-135m": ModelSize(
        d=576,
        d_kv=192,
        layer_parameters=2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576,
        weight_bytes=2.0,
        sources={
            "d": "model configuration",
            "d_kv": "model configuration: 3 key-value heads of 64",
            "layer_parameters": "model configuration: intermediate 1,536; four projections, three of the feed-forward, "
            "two norms",
            "weight_bytes": "16-bit weights",
        },
    ),
    "mistral-7b-4bit": ModelSize(
        d=4096,
        d_kv=1024,
        layer_parameters=2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096,
        weight_bytes=0.5,
        sources={
            "d": "model configuration",
            "d_kv": "model configuration: 8 key-value heads of 128",
            "layer_parameters": "model configuration: intermediate 14,336",
            "weight_bytes": "4-bit weights; scales left out",
        },
    ),
    "llama-2-7b-4bit": ModelSize(
        d=4096,
        d_kv=4096,
        layer_parameters=4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096,
        weight_bytes=0.5,
        sources={
            "d": "model configuration",
            "d_kv": "model configuration: 32 heads of 128",
            "layer_parameters": "model configuration: intermediate 11,008",
            "weight_bytes": "4-bit weights; scales left out",
        },
    ),
}
