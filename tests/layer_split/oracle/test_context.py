"""From a scenario to its channel: every channel can be asked for, and nothing is asked for twice."""

import dataclasses

import pytest

from mbrl_split.channels import Erasure, Nakagami, Quantize, Radio, Rayleigh, Rice
from mbrl_split.data import documents
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.layer_split.oracle.context import channel_of, check_context
from mbrl_split.layer_split.scenarios import ChannelSpec, scenario

PACKETS = {"mtu": 32, "header": 4, "interleave": True, "conceal": "mean"}


@pytest.mark.parametrize(
    ("spec", "context", "channel"),
    [
        (ChannelSpec(), {"noise": 0.5, "m": 2.0}, Radio(1.0, fading=Nakagami(2.0), csi="receiver")),
        (ChannelSpec(fading="rayleigh"), {"noise": 0.5}, Radio(1.0, fading=Rayleigh(), csi="receiver")),
        (ChannelSpec(fading="rice", csi="none"), {"noise": 0.5, "k": 3.0}, Radio(1.0, fading=Rice(3.0))),
        (ChannelSpec(fading="rice"), {"noise": 0.5, "gain": 0.3}, Radio(1.0, gain=0.3, csi="receiver")),
        (ChannelSpec(fading="none", block=False), {"noise": 0.5}, Radio(1.0, csi="receiver", block=False)),
        (
            ChannelSpec(kind="snr", power="tensor", fading="rayleigh"),
            {"snr_db": 3.0},
            Radio(snr_db=3.0, power="tensor", fading=Rayleigh(), csi="receiver"),
        ),
        (ChannelSpec(kind="erasure"), {"loss": 0.1}, Erasure(0.1)),
        (
            ChannelSpec(kind="erasure", unit="token", conceal="previous"),
            {"loss": 0.1},
            Erasure(0.1, "token", "previous"),
        ),
        (
            ChannelSpec(kind="erasure", unit="packet", **PACKETS),
            {"loss": 0.1},
            Erasure(0.1, "packet", "mean", mtu=32, header=4, interleave=True),
        ),
        (
            ChannelSpec(kind="packet", fading="rice", **PACKETS),
            {"snr_db": 7.0, "k": 1.0},
            Erasure(None, "packet", "mean", mtu=32, header=4, interleave=True, snr_db=7.0, fading=Rice(1.0)),
        ),
        (ChannelSpec(kind="packet", fading="none"), {"snr_db": 7.0}, Erasure(None, "packet", snr_db=7.0)),
        (ChannelSpec(kind="quantise"), {"bits": 4.0}, Quantize(4)),
        (ChannelSpec(kind="quantise", scale="tensor"), {"bits": 8.0}, Quantize(8, "tensor")),
    ],
)
def test_every_channel_is_reachable(spec, context, channel):
    check_context(spec, list(context))
    assert channel_of(spec, context, reference_rms=2.0) == channel


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (ChannelSpec(), ["noise"]),
        (ChannelSpec(fading="rayleigh"), ["noise", "m"]),
        (ChannelSpec(fading="rice"), ["noise", "m"]),
        (ChannelSpec(), ["noise", "m", "gain"]),
        (ChannelSpec(kind="packet"), ["snr_db", "gain"]),
        (ChannelSpec(kind="erasure"), ["loss", "m"]),
        (ChannelSpec(kind="quantise"), ["loss"]),
    ],
)
def test_columns_that_are_missing_or_would_be_ignored_are_refused(spec, names):
    with pytest.raises(InvalidInputError, match="has the context"):
        check_context(spec, names)


def test_specs_that_no_channel_can_have_are_refused():
    for bad, match in (
        ({"kind": "quantize"}, "did you mean 'quantise'"),
        ({"fading": "riced"}, "did you mean 'rice'"),
        ({"unit": "packets"}, "did you mean 'packet'"),
        ({"mtu": 4, "header": 4}, "no payload"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            ChannelSpec(**bad)
    bits = dataclasses.replace(scenario("equalised").context[0], name="bits", low=2, high=16)
    with pytest.raises(InvalidInputError, match="ordinal"):
        scenario("equalised", channel=ChannelSpec(kind="quantise"), context=(bits,))


def test_a_new_field_of_the_channel_orphans_no_stored_measurement(tiny_llama):
    """The identity is part of every stored key: it may only change together with the protocol's version."""
    text = [document[:6000] for document in documents("sotu", "replay")[:2]]
    oracle = PerplexityOracle(tiny_llama, scenario("equalised", windows=4, window=24, pool=24), text)
    words = [w for w in oracle.identity.split() if not w.startswith(("model=", "rms=", "text="))]
    assert words == [
        "perplexity",
        "dtype=torch.float32",
        "device=cpu",
        "pool=24",
        "window=24",
        "windows=4",
        "kind=radio",
        "columns=split,noise,m",
    ]
    assert oracle.identity.startswith("perplexity model=")
