"""Every channel keeps the contract, and the suite notices one that does not."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mbrl_split.channels import (
    Chain,
    Channel,
    Erasure,
    Identity,
    Nakagami,
    Quantize,
    Radio,
    Rayleigh,
    Realisation,
    Rice,
)
from mbrl_split.channels.conformance import check_channel

CHANNELS = [
    Identity(),
    Radio(0.0),
    Radio(0.5),
    Radio(0.5, gain=0.0, csi="receiver"),
    Radio(0.5, fading=Nakagami(0.5), csi="receiver"),
    Radio(0.5, fading=Rayleigh(), block=False),
    Radio(snr_db=3, power="token", fading=Rice(3.0), csi="receiver"),
    Radio(snr_db=3, power="tensor", fading=Rice(3.0), block=False, csi="receiver"),
    *(Erasure(0.3, unit, how) for unit in ("element", "packet", "token") for how in ("zero", "previous", "mean")),  # type: ignore[arg-type]
    Erasure(0.3, "packet", mtu=20, header=4, interleave=True),
    Erasure(unit="packet", snr_db=3, fading=Nakagami(2.0)),
    Erasure(unit="packet", snr_db=3, fading=Rayleigh(), block=True),
    *(Quantize(bits, scale) for bits in (16, 8, 4, "fp16", "bf16") for scale in ("token", "tensor")),  # type: ignore[arg-type]
    Chain(Quantize(8), Radio(0.5, fading=Nakagami(1.0)), Erasure(0.1, "token", "previous")),
]


@pytest.mark.parametrize("channel", CHANNELS, ids=repr)
def test_the_channels_of_the_library_keep_the_contract(channel: Channel) -> None:
    check_channel(channel)


class Broken(Channel):
    """A channel that goes wrong in one way."""

    def __init__(self, apply: Callable[[Tensor, Realisation], Tensor], deterministic: bool = False) -> None:
        self._apply = apply
        self.deterministic = deterministic

    def sample(self, shape: Sequence[int], seeds: Any) -> Realisation:
        return Radio(1.0, fading=Rayleigh()).sample(shape, seeds)

    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        return self._apply(hidden, realisation)


noisy = Radio(1.0)
BROKEN: list[tuple[Channel, str]] = [
    (Broken(lambda x, r: x.add_(noisy.apply(x, r))), "in place"),
    (Broken(lambda x, r: noisy.apply(x, r).float()), "dtype"),
    (Broken(lambda x, r: noisy.apply(x, r)[:, 1:]), "shape"),
    (Broken(lambda x, r: noisy.apply(x, r) / x.abs().amax()), "not finite"),
    (Broken(lambda x, r: x + torch.randn(x.shape).to(x.dtype)), "is not channel.apply"),
    (Broken(lambda x, r: (torch.rand(1), noisy.apply(x, r))[1]), "global random state"),
    (Broken(lambda x, r: x * r.gains.mean().to(x.dtype)), "what it is alone"),  # type: ignore[union-attr]
    (Broken(noisy.apply, deterministic=True), "deterministic"),
    (Broken(lambda x, r: x + x.std(0, correction=0)), "what it is alone"),
]


@pytest.mark.parametrize(("channel", "message"), BROKEN)
def test_a_broken_promise_is_noticed(channel: Channel, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_channel(channel)


def test_careless_input_is_noticed() -> None:
    class Careless(Broken):
        def sample(self, shape: Sequence[int], seeds: Any) -> Realisation:
            return Realisation()

    with pytest.raises(AssertionError, match="four seeds for five rows"):
        check_channel(Careless(lambda x, r: x))
    with pytest.raises(AssertionError, match="not a Channel"):
        check_channel(torch.nn.Identity())  # type: ignore[arg-type]


def test_the_same_bits_in_years() -> None:
    """Stored measurements depend on these numbers: if they change, raise PROTOCOL_VERSION."""
    radio = Radio(1.0, fading=Rayleigh())
    drawn = radio.sample((1, 1, 4), [2024])
    received = radio.apply(torch.zeros(1, 1, 4), drawn)
    lost = Erasure(0.5).sample((1, 1, 8), [2024]).keep
    assert drawn.gains is not None
    assert lost is not None
    assert drawn.gains.tolist() == [[pytest.approx(0.2273418494655191, rel=1e-12)]]
    assert received[0, 0].tolist() == [
        -0.7596710324287415,
        -0.051201850175857544,
        -0.269393652677536,
        -1.0904005765914917,
    ]
    assert lost[0, 0].tolist() == [True, False, False, False, False, False, True, True]
