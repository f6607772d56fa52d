"""The radio link: value for value, and by its statistics."""

import dataclasses
from math import inf, log10, nan, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_split import InvalidInputError
from mbrl_split.channels import Chain, Erasure, Nakagami, Quantize, Radio, Rayleigh, Realisation, Rice, theory
from mbrl_split.channels.radio import SMALLEST_DIVISOR


def hidden(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def standard_noise(shape: tuple[int, ...], seeds: Any) -> torch.Tensor:
    return Radio(1.0)(torch.zeros(shape), seeds=seeds)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("csi", ["none", "receiver"])
@pytest.mark.parametrize("block", [True, False])
def test_it_is_hx_plus_n(csi: Any, block: bool) -> None:
    x, seeds = hidden(3, 5, 8), [7, 8, 9]
    radio = Radio(0.3, fading=Nakagami(2.0), csi=csi, block=block)
    drawn = radio.sample(x.shape, seeds)
    assert drawn.gains is not None
    assert drawn.gains.shape == ((3, 1) if block else (3, 5))
    assert drawn.gains.dtype == torch.float64
    n = 0.3 * standard_noise((3, 5, 8), seeds)
    for row in range(3):
        for t in range(5):
            h = float(drawn.gains[row, 0 if block else t])
            expected = h * x[row, t] + n[row, t]
            if csi == "receiver":
                expected = expected / h
            torch.testing.assert_close(radio.apply(x, drawn)[row, t], expected)


def test_the_noise_is_standard_normal() -> None:
    from scipy import stats

    z = standard_noise((16, 40, 64), range(16)).numpy()
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    between_rows = np.corrcoef(z.reshape(16, -1)) - np.eye(16)
    assert abs(between_rows).max() < 6 / sqrt(40 * 64)


@given(sigma=st.floats(1e-3, 1e3), m=st.floats(0.5, 10), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=25, deadline=None)
def test_common_random_numbers(sigma: float, m: float, seed: int) -> None:
    x = hidden(1, 3, 8, dtype=torch.float64)
    z = standard_noise((1, 3, 8), [seed]).double()
    # the same noise whatever σ, hidden state and fading
    torch.testing.assert_close((Radio(sigma)(x, seeds=[seed]) - x) / sigma, z, rtol=1e-6, atol=1e-5)
    faded = Radio(sigma, fading=Nakagami(m))
    gains = faded.sample(x.shape, [seed]).gains
    assert gains is not None
    torch.testing.assert_close((faded(x, seeds=[seed]) - gains[0, 0] * x) / sigma, z, rtol=1e-5, atol=1e-5)


def test_noise_of_a_shorter_transmission_is_the_start_of_a_longer_one() -> None:
    assert torch.equal(standard_noise((2, 50, 16), [1, 2])[:, :20], standard_noise((2, 20, 16), [1, 2]))


def test_gains_are_comonotone_across_laws() -> None:
    laws = (Nakagami(0.5), Nakagami(1.0), Nakagami(8.0), Rice(3.0))
    ranks = []
    for law in laws:
        gains = Radio(0.0, fading=law).sample((50, 1, 1), range(50)).gains
        assert gains is not None
        ranks.append(gains[:, 0].argsort().tolist())
    assert all(r == ranks[0] for r in ranks)


def test_block_fading_has_one_gain_and_fast_fading_one_per_token() -> None:
    x = torch.ones(2, 40, 4)
    block = Radio(0.0, fading=Rayleigh())(x, seeds=[1, 2])
    fast = Radio(0.0, fading=Rayleigh(), block=False)(x, seeds=[1, 2])
    assert all(len(row.unique()) == 1 for row in block)
    assert all(len(row.unique()) == 40 for row in fast)
    assert all(len(token.unique()) == 1 for token in fast[0])


# --- SNR --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", ["token", "tensor"])
def test_noise_std_follows_the_reference_power(power: Any) -> None:
    x = hidden(2, 6, 32) * torch.tensor([0.1, 1, 2, 5, 10, 100])[:, None]
    x[1] *= 7
    n = Radio(snr_db=13.0, power=power)(x, seeds=[1, 2]) - x
    z = standard_noise((2, 6, 32), [1, 2])
    for row in range(2):
        for t in range(6):
            sent = x[row, t] if power == "token" else x[row]
            sigma = sqrt(float(sent.square().mean()) * 10 ** (-1.3))
            torch.testing.assert_close(n[row, t], sigma * z[row, t], rtol=1e-3, atol=1e-4)


def test_the_3_db_question_es_over_n0_of_complex_symbols() -> None:
    """Two real elements make one complex symbol: Es/N0 measured on the symbols is snr_db, not snr_db ± 3.01."""
    x = hidden(4, 64, 256)
    n = Radio(snr_db=10.0, power="tensor")(x, seeds=range(4)) - x
    symbols, noise = torch.view_as_complex(x.view(4, 64, 128, 2)), torch.view_as_complex(n.view(4, 64, 128, 2))
    es, n0 = symbols.abs().square().mean(), noise.abs().square().mean()
    assert 10 * log10(es / n0) == pytest.approx(10.0, abs=0.1)
    # The mix-up, N0 read as the variance per real element, is off by 3.01 dB.
    assert 10 * log10(es / n.square().mean()) == pytest.approx(13.01, abs=0.1)


@pytest.mark.parametrize("m", [1.0, 2.0])
def test_the_3_db_question_bit_errors(m: float) -> None:
    """±1 elements are two bits per complex symbol: Eb/N0 = 10 dB is Es/N0 = 13.01 dB, and gives the BPSK error rate."""
    tokens = 40_000
    bits = torch.randint(0, 2, (1, tokens, 16), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    strata = (np.arange(tokens) + 0.5) / tokens  # gains given by hand: the fading law without its sampling noise

    def bit_error_rate(snr_db: float) -> float:
        radio = Radio(snr_db=snr_db, power="token", csi="receiver")
        drawn = Realisation(gains=Nakagami(m).ppf(strata)[None], noise_seeds=[5])
        return float((radio.apply(bits, drawn).sign() != bits).double().mean())

    exact = theory.bpsk_bit_error_rate(10.0, Nakagami(m))
    assert exact == pytest.approx({1.0: 0.02326871, 2.0: 0.005528247}[m], abs=1e-8)
    assert bit_error_rate(10.0 + 10 * log10(2)) == pytest.approx(exact, rel=0.05)
    assert bit_error_rate(10.0) > 1.5 * exact  # 3 dB apart: the mistake shows


def test_the_noise_is_fixed_at_the_transmitter() -> None:
    """A fade lowers the received SNR; normalising after the fade would cancel it."""
    x, seeds = hidden(2, 8, 64), [1, 2]
    for power in ("token", "tensor"):
        full = Radio(snr_db=10.0, power=power, csi="receiver", gain=1.0)(x, seeds=seeds) - x
        deep = Radio(snr_db=10.0, power=power, csi="receiver", gain=0.01)(x, seeds=seeds) - x
        torch.testing.assert_close(deep, 100 * full, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_outage_of_the_received_snr(m: float) -> None:
    """The share of transmissions whose measured SNR is below threshold is the incomplete gamma function."""
    n = 3000
    radio = Radio(snr_db=5.0, power="tensor", fading=Nakagami(m))
    gains = radio.sample((n, 1, 2), range(n)).gains
    assert gains is not None
    snr = gains[:, 0] ** 2 * 10**0.5  # instantaneous
    expected = float(theory.outage_probability(5.0, 0.0, Nakagami(m)))
    assert (snr < 1).double().mean().item() == pytest.approx(
        expected, abs=4 * sqrt(expected * (1 - expected) / n) + 1e-9
    )


# --- receiver knowledge -----------------------------------------------------------------------------------------------


def test_without_noise_a_receiver_that_knows_the_gain_gets_what_was_sent() -> None:
    x = hidden(4, 6, 8)
    torch.testing.assert_close(Radio(0.0, fading=Rayleigh(), csi="receiver")(x, seeds=range(4)), x)


def test_a_deep_fade_raises_the_error() -> None:
    x, seeds = hidden(1, 16, 64), [3]
    errors = []
    for gain in (1.0, 0.1, 1e-2, 1e-3, 1e-4, 0.0):
        received = Radio(0.5, csi="receiver", gain=gain)(x, seeds=seeds)
        assert received.isfinite().all()
        errors.append(float((received - x).square().mean().sqrt()))
    assert errors == sorted(errors)
    assert errors[1] == pytest.approx(10 * errors[0], rel=1e-3)
    assert errors[4] == pytest.approx(1e4 * errors[0], rel=1e-3)


def test_gain_zero_is_finite_noise_or_nothing() -> None:
    x, seeds = hidden(1, 4, 8), [3]
    z = standard_noise((1, 4, 8), seeds)
    torch.testing.assert_close(Radio(0.5, csi="receiver", gain=0.0)(x, seeds=seeds), 0.5 * z / SMALLEST_DIVISOR)
    assert torch.equal(Radio(0.0, csi="receiver", gain=0.0)(x, seeds=seeds), torch.zeros_like(x))
    torch.testing.assert_close(Radio(0.5, gain=0.0)(x, seeds=seeds), 0.5 * z)


# --- realisations -----------------------------------------------------------------------------------------------------


def test_a_given_gain_is_a_fixed_gain_is_a_realisation() -> None:
    x, seeds = hidden(2, 4, 8), [1, 2]
    fixed = Radio(0.5, csi="receiver", gain=0.25)(x, seeds=seeds)
    radio = Radio(0.5, csi="receiver", fading=Nakagami(0.5))
    given_gains = Realisation(gains=[[0.25], [0.25]], noise_seeds=seeds)
    assert torch.equal(radio.apply(x, given_gains), fixed)
    drawn = radio.sample(x.shape, seeds)
    assert torch.equal(radio.apply(x, dataclasses.replace(drawn, gains=given_gains.gains)), fixed)


def test_block_gains() -> None:
    shape, seeds = (3, 5, 8), [1, 2, 3]
    drawn = Radio(0.1, fading=Rayleigh()).sample(shape, seeds)
    assert drawn.gains is not None
    np.testing.assert_array_equal(drawn.block_gains, drawn.gains[:, 0].numpy())
    inside = Chain(Quantize(8), Radio(0.1, fading=Rayleigh())).sample(shape, seeds)
    np.testing.assert_array_equal(inside.block_gains, drawn.block_gains)
    assert Radio(0.1).sample(shape, seeds).block_gains is None
    assert Radio(0.1, fading=Rayleigh(), block=False).sample(shape, seeds).block_gains is None
    assert Chain(Radio(0.1, gain=1.0), Radio(0.1, gain=1.0)).sample(shape, seeds).block_gains is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_precision_sees_the_same_channel(dtype: torch.dtype) -> None:
    x = hidden(2, 4, 16).to(dtype)
    for radio in (Radio(0.3, fading=Rayleigh(), csi="receiver"), Radio(snr_db=5, power="token", fading=Rice(2.0))):
        expected = radio(x.float(), seeds=[1, 2])
        tolerance = 1e-5 if dtype == torch.float64 else 1e-2
        torch.testing.assert_close(radio(x, seeds=[1, 2]), expected.to(dtype), rtol=tolerance, atol=1e-5)


def test_gradients_pass() -> None:
    x = hidden(1, 2, 4).requires_grad_()
    Radio(0.3, gain=0.5)(x, seeds=[1]).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 0.5))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_std": -1.0}, "at least 0"),
        ({"noise_std": nan}, "at least 0"),
        ({"noise_std": inf}, "finite"),
        ({}, "either noise_std or snr_db"),
        ({"noise_std": 1.0, "snr_db": 3.0, "power": "token"}, "either noise_std or snr_db"),
        ({"snr_db": nan, "power": "token"}, "finite"),
        ({"snr_db": 3.0}, "reference power"),
        ({"noise_std": 1.0, "power": "token"}, "absolute"),
        ({"noise_std": 1.0, "power": "watt"}, "'tensor'"),
        ({"noise_std": 1.0, "csi": "sender"}, "'receiver'"),
        ({"noise_std": 1.0, "gain": -0.5}, "amplitude"),
        ({"noise_std": 1.0, "gain": nan}, "amplitude"),
        ({"noise_std": 1.0, "gain": 0.5, "fading": Rayleigh()}, "fixed gain"),
        ({"snr_db": 3.0, "power": "token", "fading": Nakagami(1.0, omega=2.0)}, "mean power 1"),
    ],
)
def test_impossible_radios_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as error:
        Radio(**arguments)
    assert "\n" not in str(error.value)


def test_realisations_that_do_not_fit_are_refused() -> None:
    x = hidden(2, 4, 8)
    radio = Radio(0.5)
    with pytest.raises(InvalidInputError, match="do not fit"):
        radio.apply(x, Realisation(gains=[[1.0, 1.0], [1.0, 1.0]], noise_seeds=[1, 2]))
    with pytest.raises(InvalidInputError, match="noise_seeds"):
        radio.apply(x, Realisation(gains=[[1.0], [1.0]]))
    with pytest.raises(InvalidInputError, match="one per row"):
        radio.apply(x, Realisation(noise_seeds=[1, 2, 3]))
    with pytest.raises(InvalidInputError, match="amplitudes"):
        Realisation(gains=[[-1.0]])
    with pytest.raises(InvalidInputError, match="amplitudes"):
        Realisation(gains=[[nan]])
    with pytest.raises(InvalidInputError, match="shape"):
        Realisation(gains=[1.0])
    with pytest.raises(InvalidInputError, match="floating"):
        radio(torch.ones(2, 4, 8, dtype=torch.int64), seeds=[1, 2])
    with pytest.raises(InvalidInputError, match="non-negative"):
        radio(x, seeds=[0.5, 1.0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sees_the_same_channel() -> None:
    x, seeds = hidden(4, 16, 64), range(4)
    for channel in (
        Radio(0.5, fading=Rayleigh(), csi="receiver"),
        Radio(snr_db=5, power="token", fading=Rice(2.0), block=False),
        Erasure(0.3, "token", "previous"),
        Erasure(0.3, "packet", "mean", interleave=True),
        Chain(Quantize(8), Radio(0.5)),
    ):
        received = channel(x.cuda(), seeds=seeds)
        assert received.is_cuda
        torch.testing.assert_close(received.cpu(), channel(x, seeds=seeds))
