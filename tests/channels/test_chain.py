"""Chains: order, seeds, flattening."""

import pytest
import torch

from mbrl_split import InvalidInputError
from mbrl_split.channels import Chain, Erasure, Identity, Nakagami, Quantize, Radio, Realisation


def hidden(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_order_matters() -> None:
    x, seeds = hidden(2, 8, 16), [1, 2]
    lossy, radio = Erasure(0.5), Radio(0.5)
    sent_then_lost = Chain(radio, lossy)(x, seeds=seeds)
    lost_then_sent = Chain(lossy, radio)(x, seeds=seeds)
    assert 0.3 < float((sent_then_lost == 0).double().mean()) < 0.7  # losses come last: true zeros
    assert not (lost_then_sent == 0).any()  # noise comes last: none


def test_it_is_the_composition_of_its_parts() -> None:
    x, seeds = hidden(2, 8, 16), [1, 2]
    parts = (Quantize(4), Radio(0.5, fading=Nakagami(1.0)), Erasure(0.3, "token", "previous"))
    drawn = Chain(*parts).sample(x.shape, seeds)
    expected = x
    for part, realisation in zip(parts, drawn.parts, strict=True):
        expected = part.apply(expected, realisation)
    assert torch.equal(Chain(*parts).apply(x, drawn), expected)


def test_two_radio_hops_have_independent_noise() -> None:
    z = Chain(Radio(1.0), Radio(1.0))(torch.zeros(4, 32, 64), seeds=range(4))
    assert float(z.square().mean()) == pytest.approx(2.0, rel=0.06)  # 4 if both hops drew the same noise
    first = Chain(Radio(1.0), Radio(0.0))(torch.zeros(4, 32, 64), seeds=range(4))
    assert abs(torch.corrcoef(torch.stack([first.flatten(), (z - first).flatten()]))[0, 1]) < 0.06


def test_a_single_random_part_keeps_its_noise() -> None:
    x, seeds = hidden(2, 4, 8), [1, 2]
    radio = Radio(0.5, fading=Nakagami(1.0))
    assert torch.equal(Chain(Identity(), radio)(x, seeds=seeds), radio(x, seeds=seeds))
    quantised = Quantize(8)(x, seeds=seeds)
    assert torch.equal(Chain(Quantize(8), radio)(x, seeds=seeds), radio(quantised, seeds=seeds))


def test_chains_are_associative() -> None:
    x, seeds = hidden(2, 4, 8), [1, 2]
    a, b, c = Radio(0.5), Erasure(0.2), Radio(0.1)
    flat = Chain(a, b, c)(x, seeds=seeds)
    assert torch.equal(Chain(Chain(a, b), c)(x, seeds=seeds), flat)
    assert torch.equal(Chain(a, Chain(b, c))(x, seeds=seeds), flat)


def test_identity() -> None:
    x = hidden(2, 4, 8)
    assert torch.equal(Identity()(x, seeds=[1, 2]), x)
    assert Chain(Identity(), Quantize(8)).deterministic
    assert not Chain(Identity(), Radio(0.1)).deterministic


def test_what_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        Chain()
    with pytest.raises(InvalidInputError, match="made of channels"):
        Chain(Radio(0.1), 0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="as many"):
        Chain(Radio(0.1)).apply(hidden(1, 2, 4), Realisation())


def test_repr_says_what_it_is() -> None:
    assert repr(Chain(Quantize(8), Identity())) == "Chain(Quantize(bits=8, scale='token'), Identity())"
