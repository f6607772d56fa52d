"""Profiles of devices, links and models, each with its source; what is an assumption says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Something that runs layers.

    Attributes:
        flops: Sustained operations per second, FLOP/s.
        bandwidth: Sustained memory bandwidth, bytes/s.
        watts: Power drawn above idle while it computes, W.
        memory: Bytes granted to weights and cache.
        source: Where the figures are from.
    """

    flops: float
    bandwidth: float
    watts: float
    memory: float
    source: str


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
        source: Where the figures are from.
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
    source: str


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a causal language model.

    Attributes:
        d: Width of the hidden state.
        d_kv: Width of the keys (and of the values) of a layer: key-value heads times head width.
        layer_parameters: Parameters of one layer.
        weight_bytes: Bytes per parameter.
        source: Where the figures are from.
    """

    d: int
    d_kv: int
    layer_parameters: int
    weight_bytes: float
    source: str


GB = 1e9

# Sustained = half of the data sheet's peak, for compute and bandwidth alike: our assumption for all devices.
DEVICES: dict[str, Device] = {
    "phone": Device(
        1.4e12,
        38.4 * GB,
        5.0,
        4 * GB,
        "flagship phone of 2024 (Snapdragon 8 Gen 3): LPDDR5X at 4,800 MHz (maker's brief), 64 bit, hence 76.8 GB/s; "
        "about 2.8 TFLOP/s of the GPU (reviews, not published by the maker); 5 W sustained and 4 of 12 GB: assumptions",
    ),
    "laptop": Device(
        1.8e12,
        50 * GB,
        20.0,
        8 * GB,
        "Apple M2 (announcement of June 2022): 100 GB/s, 3.6 TFLOP/s of the GPU; 20 W and 8 of 16 GB: assumptions",
    ),
    "single-board": Device(
        0.077e12,
        8.5 * GB,
        6.0,
        4 * GB,
        "Raspberry Pi 5 (product brief): LPDDR4X-4267, 32 bit, hence 17.1 GB/s; four Cortex-A76 at 2.4 GHz, 16 FLOP "
        "per cycle each, hence 154 GFLOP/s; 6 W above idle and 4 of 8 GB: assumptions",
    ),
    "l4": Device(
        60e12,
        150 * GB,
        72.0,
        24 * GB,
        "NVIDIA L4 data sheet: 300 GB/s, 121 TFLOP/s FP16 without sparsity, 72 W, 24 GB",
    ),
    "orin": Device(
        5.3e12,
        102.4 * GB,
        60.0,
        32 * GB,
        "NVIDIA Jetson AGX Orin 64 GB data sheet: 204.8 GB/s, 5.3 TFLOP/s FP32 and twice that in FP16, 60 W; 32 of "
        "64 GB: assumption",
    ),
}

RADIOS: dict[str, Radio] = {
    "5g": Radio(
        20e6,
        0.4,
        0.6,
        7.4,
        10.0,
        0.030,
        0.005,
        1.8,
        1.2,
        "shares of Shannon's rate: 3GPP TR 36.942 annex A (0.4 up, 0.6 down); 7.4 bit/s/Hz: highest entry of the "
        "256-QAM table in TS 38.214; sending: 23 dBm (power class 3, TS 38.101-1) at 25 % amplifier efficiency plus "
        "1 W of baseband; 20 MHz, 30 ms, 5 ms, 10 dB and 1.2 W receiving: assumptions",
    ),
    "lte": Radio(
        10e6,
        0.4,
        0.6,
        4.4,
        10.0,
        0.050,
        0.010,
        1.8,
        1.2,
        "as 5g, with the largest efficiency of TR 36.942 (4.4 bit/s/Hz), 10 MHz, 50 ms and 10 ms: assumptions",
    ),
    "wifi": Radio(
        40e6,
        0.5,
        0.5,
        6.7,
        0.0,
        0.008,
        0.002,
        1.3,
        0.9,
        "40 MHz channel, 256-QAM at rate 5/6 (IEEE 802.11ac), half of it lost to contention and headers; 8 ms, 2 ms "
        "and the powers: assumptions",
    ),
}

MODELS: dict[str, ModelSize] = {
    "smollm2-135m": ModelSize(
        576,
        192,
        2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576,
        2.0,
        "model configuration: width 576, 3 key-value heads of 64, intermediate 1,536; 16-bit weights",
    ),
    "mistral-7b-4bit": ModelSize(
        4096,
        1024,
        2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096,
        0.5,
        "model configuration: width 4,096, 8 key-value heads of 128, intermediate 14,336; 4-bit weights",
    ),
    "llama-2-7b-4bit": ModelSize(
        4096,
        4096,
        4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096,
        0.5,
        "model configuration: width 4,096, 32 heads of 128, intermediate 11,008; 4-bit weights",
    ),
}
