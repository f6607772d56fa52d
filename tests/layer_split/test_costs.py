"""Seconds, joules and bytes by hand, and their units by cases."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.costs import (
    DEVICES,
    MODELS,
    RADIOS,
    Device,
    ModelSize,
    Prices,
    Radio,
    cache_bits,
    layer_seconds,
    link_rate,
    memory_bytes,
    queued,
)
from mbrl_split.layer_split.sessions import ContextProcessSpec, CostSpec

SIZE = ModelSize(d=100, d_kv=50, layer_parameters=1_000_000, weight_bytes=2.0)
FAST_MEMORY = Device(flops=1e9, bandwidth=1e15, watts=4.0, memory=1e9)
FAST_COMPUTE = Device(flops=1e18, bandwidth=1e9, watts=4.0, memory=1e9)


def test_a_layer_computes_or_reads_whichever_is_slower():
    # 10 tokens attending to 1,000: 10·(2·10⁶ + 4·100·1,000) = 24·10⁶ operations at 10⁹ per second
    assert layer_seconds(FAST_MEMORY, SIZE, 10, 1000) == pytest.approx(0.024)
    # 2·10⁶ bytes of weights and 2·50·1,000·2 bytes of cache at 10⁹ per second, however many tokens pass
    assert layer_seconds(FAST_COMPUTE, SIZE, 10, 1000) == pytest.approx(0.0022)
    assert layer_seconds(FAST_COMPUTE, SIZE, 1, 1000) == pytest.approx(0.0022)


def test_rates():
    radio = Radio(1e6, 0.5, 0.8, 3.0, 10.0, 0.0, 0.0, 1.0, 1.0)
    assert link_rate(radio, 3.0, up=True) == pytest.approx(0.5e6 * 2)  # log2(1 + 3) = 2
    assert link_rate(radio, 0.3, up=False) == pytest.approx(0.8e6 * 2)  # 10 dB more: 3
    assert link_rate(radio, 1e9, up=True) == 3e6  # capped
    rates = link_rate(radio, np.geomspace(0.01, 1e6, 50), up=True)
    assert (np.diff(rates) >= 0).all()


def test_units_by_cases():
    assert cache_bits(SIZE, 3, 1000, bits=16) == 2 * 50 * 3 * 1000 * 16
    assert cache_bits(SIZE, 3, 0, bits=16) == 0
    assert memory_bytes(SIZE, 3, 1000) == 3 * (2_000_000 + 2 * 50 * 2 * 1000)
    assert queued(0.2, 0.0) == 0.2
    assert queued(0.2, 0.75) == pytest.approx(0.8)
    prices = Prices(CostSpec(bits=8), ContextProcessSpec(), 30, 16)
    twice = Prices(CostSpec(bits=16), ContextProcessSpec(), 30, 16)
    a, b = (p.turn(10, 12, 10.0, 0.0, 3) for p in (prices, twice))
    assert b.uplink == pytest.approx(2 * a.uplink)
    assert b.moving == pytest.approx(2 * a.moving)
    assert b.device == a.device


def test_worked_example():
    """A turn of SmolLM2-135M on the phone over 5G, split 10 of 30, moved from 12, by hand (docs: costs)."""
    spec = ContextProcessSpec(start_tokens=512, prompt_tokens=64, answer_tokens=64)
    bill = Prices(CostSpec(), spec, 30, 16).turn(10, 12, snr=15.0, load=0.8, turn=2)
    cached = 512 + 2 * 128
    parameters = 3_540_096
    # prefill: compute-bound on the phone, 64·(2P + 4·576·(768 + 32)) operations at 1.4·10¹² per second
    prefill = 64 * (2 * parameters + 4 * 576 * (cached + 32)) / 1.4e12
    # decoding: 63 tokens, each reading 2P bytes of weights and 2·192·2 bytes per position at 38.4·10⁹ per second
    decode = 63 * (2 * parameters + 2 * 192 * 2 * (cached + 64 + 32)) / 38.4e9
    assert bill.device == pytest.approx(10 * (prefill + decode))
    edge_prefill = max(
        64 * (2 * parameters + 4 * 576 * (cached + 32)) / 60e12,
        (2 * parameters + 2 * 192 * 2 * (cached + 32)) / 150e9,
    )
    edge_decode = 63 * (2 * parameters + 2 * 192 * 2 * (cached + 96)) / 150e9
    assert bill.edge == pytest.approx(20 * (edge_prefill + edge_decode) * 5)  # load .8: five times as long
    up = 0.4 * 20e6 * 4  # log2(1 + 15) = 4
    assert bill.uplink == pytest.approx(127 * 576 * 16 / up)  # 64 prompt tokens, 63 answer tokens fed back
    assert bill.downlink == pytest.approx(64 * 32 / (0.6 * 20e6 * np.log2(151)))
    assert bill.moving == pytest.approx(2 * 192 * 2 * cached * 16 / up)  # shallower: up
    assert bill.fixed == pytest.approx(64 * 0.035)
    assert bill.seconds == pytest.approx(
        bill.device + bill.edge + bill.uplink + bill.downlink + bill.moving + bill.fixed
    )
    assert bill.moving_joules == pytest.approx(1.8 * bill.moving)
    assert bill.compute_joules == pytest.approx(5.0 * bill.device)
    joules = 5.0 * bill.device + 1.8 * (bill.uplink + bill.moving) + 1.2 * bill.downlink
    assert bill.joules == pytest.approx(joules)
    prices = Prices(CostSpec(), spec, 30, 16)
    # until the first token: the move, ten layers of prefill, 64 of the 127 states, 20 layers on the busy server, one
    # token back, one of the 64 messages
    first = bill.moving + 10 * prefill + 64 * 576 * 16 / up + 20 * edge_prefill * 5 + (bill.downlink + bill.fixed) / 64
    assert prices.first_token(bill, 10, 0.8, 2) == pytest.approx(first)
    assert prices.memory_of(10, 2) == pytest.approx(10 * (2 * parameters + 2 * 192 * 2 * (cached + 128)))


def test_deeper_moves_come_down_and_staying_and_the_first_choice_are_free():
    prices = Prices(CostSpec(), ContextProcessSpec(), 30, 16)
    up, down, stay = (
        prices.turn(10, 11, 1.0, 0.0, 1),
        prices.turn(11, 10, 1.0, 0.0, 1),
        prices.turn(10, 10, 1.0, 0.0, 1),
    )
    assert prices.turn(10, 11, 1.0, 0.0, 0).moving == 0  # before the first turn there is no cache
    assert stay.moving == 0
    assert stay.moving_joules == 0
    ratio = link_rate(prices.radio, 1.0, up=False) / link_rate(prices.radio, 1.0, up=True)
    assert up.moving / down.moving == pytest.approx(ratio)
    free = Prices(CostSpec(), ContextProcessSpec(session=False), 30, 16)
    assert free.turn(10, 20, 1.0, 0.0, 5).moving == 0


def test_with_a_free_link_and_an_idle_server_the_share_is_p_over_l(monkeypatch):
    """The plain scenarios' load term is the limit of the bill."""
    monkeypatch.setitem(RADIOS, "free", Radio(1e30, 1.0, 1.0, 1e30, 0.0, 0.0, 0.0, 1.0, 1.0))
    monkeypatch.setitem(DEVICES, "instant", Device(1e30, 1e30, 1.0, 1e12))
    prices = Prices(CostSpec(radio="free", edge="instant"), ContextProcessSpec(), 30, 16)
    p = np.arange(1, 30)
    np.testing.assert_allclose(prices.share(prices.turn(p, p, 10.0, 0.0, 8)), p / 30, rtol=1e-12)


def test_parameter_counts_of_the_profiles():
    assert 30 * MODELS["smollm2-135m"].layer_parameters + 49152 * 576 + 576 == 134_515_008
    assert 32 * MODELS["llama-2-7b-4bit"].layer_parameters + 2 * 32000 * 4096 + 4096 == 6_738_415_616
    assert 32 * MODELS["mistral-7b-4bit"].layer_parameters + 2 * 32000 * 4096 + 4096 == 7_241_732_096


def test_every_number_of_a_profile_has_a_source():
    for profile in (*DEVICES.values(), *RADIOS.values(), *MODELS.values()):
        numbers = {f.name for f in dataclasses.fields(profile)} - {"sources"}
        assert set(profile.sources) == numbers
        assert all(profile.sources.values())


def test_bad_profiles():
    with pytest.raises(InvalidInputError, match="phone"):
        Prices(CostSpec(device="fone"), ContextProcessSpec(), 30, 16)
    with pytest.raises(InvalidInputError, match="one layer"):
        Prices(CostSpec(memory=1e6), ContextProcessSpec(), 30, 16)
