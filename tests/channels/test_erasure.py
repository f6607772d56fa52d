"""Losses: which units, how many, and what stands in for them; against slow loops."""

from math import nan, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_split import InvalidInputError
from mbrl_split.channels import Erasure, Nakagami, Rayleigh, Realisation, Rice, theory

UNITS = ("element", "packet", "token")


def hidden(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def keep(channel: Erasure, shape: tuple[int, int, int], seeds: Any) -> torch.Tensor:
    mask = channel.sample(shape, seeds).keep
    assert mask is not None
    return mask.expand(shape)


# --- which units ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_loss_rate(unit: Any, p: float) -> None:
    shape = (40, 64, 64)
    mask = keep(Erasure(p, unit), shape, range(40))
    n_units = mask.numel() / {"element": 1, "packet": 64, "token": 64}[unit]
    assert 1 - mask.double().mean().item() == pytest.approx(p, abs=4.5 * sqrt(p * (1 - p) / n_units) + 1e-12)


@given(
    p=st.floats(0, 1),
    q=st.floats(0, 1),
    unit=st.sampled_from(UNITS),
    seed=st.integers(0, 2**64 - 1),
    interleave=st.booleans(),
)
@settings(deadline=None)
def test_masks_are_nested_in_p(p: float, q: float, unit: Any, seed: int, interleave: bool) -> None:
    low, high = sorted((p, q))
    more, less = (keep(Erasure(x, unit, mtu=5, interleave=interleave), (1, 6, 8), [seed]) for x in (low, high))
    assert bool((more | ~less).all())  # what arrives at the higher loss arrives at the lower


def test_tokens_are_lost_whole_and_packets_in_runs() -> None:
    assert Erasure(0.5, "token").sample((2, 30, 8), [1, 2]).keep.shape == (2, 30, 1)  # type: ignore[union-attr]
    runs = keep(Erasure(0.5, "packet", mtu=16), (2, 32, 8), [1, 2]).reshape(2, -1, 16)
    assert bool((runs.all(-1) | ~runs.any(-1)).all())
    assert 0 < runs.any(-1).double().mean() < 1


@pytest.mark.parametrize(("mtu", "header"), [(7, 0), (10, 3), (64, 8), (1000, 0)])
def test_packet_layout_against_a_slow_loop(mtu: int, header: int) -> None:
    """Lose one packet at a time: the runs are those of a sender that fills packets in order, the last one short."""
    tokens, d = 5, 9
    expected, packet, room = [], -1, 0
    for _ in range(tokens * d):
        if room == 0:
            packet, room = packet + 1, mtu - header
        expected.append(packet)
        room -= 1
    mask = keep(Erasure(0.5, "packet", mtu=mtu, header=header), (200, tokens, d), range(200)).reshape(200, -1)
    for i in range(tokens * d):
        for j in (i - 1, i + 1):
            if 0 <= j < tokens * d:
                always_together = bool((mask[:, i] == mask[:, j]).all())
                assert always_together == (expected[i] == expected[j])


def test_a_header_makes_more_packets() -> None:
    fading = Rayleigh()
    for header, packets in ((0, 10), (32, 20), (63, 640)):
        channel = Erasure(unit="packet", snr_db=10, fading=fading, mtu=64, header=header)
        gains = channel.sample((3, 10, 64), [1, 2, 3]).gains
        assert gains is not None
        assert gains.shape == (3, packets)


def test_interleaving_spreads_a_lost_packet_and_keeps_the_rate() -> None:
    plain, spread = (Erasure(0.25, "packet", mtu=32, interleave=i) for i in (False, True))
    a, b = (keep(c, (1, 64, 32), [3]).reshape(-1) for c in (plain, spread))
    assert int(a.sum()) == int(b.sum())  # a permutation: as many elements lost
    together = [bool((m[1:] == m[:-1]).double().mean() > 0.9) for m in (a, b)]
    assert together == [True, False]
    # no coordinate is hit in (nearly) every token, as a regular stride would do
    assert float((~b.reshape(64, 32)).double().mean(0).max()) < 0.6


# --- outage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fading", [Nakagami(0.5), Rayleigh(), Nakagami(4.0), Rice(3.0), None])
def test_outage_loss_is_the_closed_form(fading: Any) -> None:
    channel = Erasure(unit="packet", snr_db=5.0, threshold_db=1.0, fading=fading)
    assert channel.loss == float(theory.outage_probability(5.0, 1.0, fading))


def test_outage_numbers() -> None:
    for m, loss in ((1.0, 0.0951626), (2.0, 0.0175231)):
        assert Erasure(unit="packet", snr_db=10.0, fading=Nakagami(m)).loss == pytest.approx(loss, abs=5e-8)


@pytest.mark.parametrize("fading", [Nakagami(0.5), Rayleigh(), Rice(3.0)])
def test_a_packet_is_lost_exactly_when_its_own_gain_is_in_outage(fading: Any) -> None:
    channel = Erasure(unit="packet", snr_db=3.0, threshold_db=1.0, fading=fading, mtu=8)
    drawn = channel.sample((100, 10, 8), range(100))
    assert drawn.gains is not None
    assert drawn.keep is not None
    decoded = drawn.gains.square() * 10**0.3 >= 10**0.1
    assert torch.equal(drawn.keep.reshape(100, 10, 8), decoded[:, :, None].expand(100, 10, 8))
    assert (~decoded).double().mean().item() == pytest.approx(channel.loss, abs=4.5 * sqrt(0.25 / 1000))


def test_packets_of_one_block_are_lost_all_together() -> None:
    own = Erasure(unit="packet", snr_db=3.0, fading=Rayleigh(), mtu=8)
    one = Erasure(unit="packet", snr_db=3.0, fading=Rayleigh(), mtu=8, block=True)
    lost = ~keep(one, (400, 4, 8), range(400)).reshape(400, -1)
    assert bool((lost.all(1) | ~lost.any(1)).all())
    assert lost.double().mean().item() == pytest.approx(one.loss, abs=4.5 * sqrt(0.25 / 400))
    mixed = ~keep(own, (400, 4, 8), range(400)).reshape(400, -1)
    assert bool((mixed.any(1) & ~mixed.all(1)).any())
    assert own.loss == one.loss


def test_without_fading_the_threshold_is_a_switch() -> None:
    x = hidden(1, 4, 8)
    assert torch.equal(Erasure(unit="packet", snr_db=1.0)(x, seeds=[1]), x)
    assert not Erasure(unit="packet", snr_db=-1.0)(x, seeds=[1]).any()


# --- concealment ------------------------------------------------------------------------------------------------------


def slow_conceal(x: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    out = x.clone()
    for b, t, i in (~mask).nonzero().tolist():
        arrived = [float(x[b, s, i]) for s in range(t) if mask[b, s, i]]
        substitute = {"zero": 0.0, "previous": arrived[-1] if arrived else 0.0, "mean": np.mean(arrived or [0.0])}
        out[b, t, i] = float(substitute[how])
    return out


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("how", ["zero", "previous", "mean"])
def test_concealment_against_a_slow_loop(unit: Any, how: Any) -> None:
    x, seeds = hidden(3, 12, 6), [1, 2, 3]
    channel = Erasure(0.4, unit, how, mtu=9)
    torch.testing.assert_close(channel(x, seeds=seeds), slow_conceal(x, keep(channel, (3, 12, 6), seeds), how))


@pytest.mark.parametrize("how", ["zero", "previous", "mean"])
def test_what_was_lost_is_never_seen_again_and_the_future_never_early(how: Any) -> None:
    x, mask = hidden(1, 5, 2), torch.tensor([0, 1, 0, 1, 0], dtype=torch.bool)[None, :, None]
    channel, drawn = Erasure(0.5, "token", how), Realisation(keep=mask)
    received = channel.apply(x, drawn)
    hostile = torch.where(mask, x, torch.inf)  # lost values, even infinite ones, leave no trace
    assert torch.equal(channel.apply(hostile, drawn), received)
    changed = x.clone()
    changed[:, 3:] += 1
    assert torch.equal(channel.apply(changed, drawn)[:, :3], received[:, :3])


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("how", ["zero", "previous", "mean"])
def test_nothing_arrives(unit: Any, how: Any) -> None:
    received = Erasure(1.0, unit, how)(hidden(2, 4, 8), seeds=[1, 2])
    assert torch.equal(received, torch.zeros(2, 4, 8))


@pytest.mark.parametrize("unit", UNITS)
def test_everything_arrives(unit: Any) -> None:
    x = hidden(2, 4, 8)
    assert torch.equal(Erasure(0.0, unit)(x, seeds=[1, 2]), x)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": -0.1}, r"in \[0, 1\]"),
        ({"p": 1.1}, r"in \[0, 1\]"),
        ({"p": nan}, r"in \[0, 1\]"),
        ({}, "either p or snr_db"),
        ({"p": 0.1, "snr_db": 3.0, "unit": "packet"}, "either p or snr_db"),
        ({"p": 0.1, "unit": "bit"}, "'packet'"),
        ({"p": 0.1, "conceal": "guess"}, "'previous'"),
        ({"p": 0.1, "mtu": 0}, "no payload"),
        ({"p": 0.1, "mtu": 8, "header": 8}, "no payload"),
        ({"p": 0.1, "mtu": 8, "header": -1}, "no payload"),
        ({"p": 0.1, "fading": Rayleigh()}, "outage form"),
        ({"p": 0.1, "block": True}, "outage form"),
        ({"snr_db": 3.0}, "whole packets"),
        ({"snr_db": nan, "unit": "packet"}, "finite"),
        ({"snr_db": 3.0, "unit": "packet", "fading": Nakagami(1.0, omega=2.0)}, "mean power 1"),
    ],
)
def test_impossible_erasures_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as error:
        Erasure(**arguments)
    assert "\n" not in str(error.value)


def test_realisations_that_do_not_fit_are_refused() -> None:
    x = hidden(2, 4, 8)
    with pytest.raises(InvalidInputError, match="keep mask"):
        Erasure(0.1).apply(x, Realisation())
    with pytest.raises(InvalidInputError, match="does not fit"):
        Erasure(0.1).apply(x, Realisation(keep=torch.ones(2, 5, 8, dtype=torch.bool)))
    with pytest.raises(InvalidInputError, match="boolean"):
        Realisation(keep=torch.ones(2, 4, 8))
