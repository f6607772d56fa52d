"""Does a channel keep the contract? For channels of your own; re-exported as ``mbrl_split.testing.check_channel``."""

# ruff: noqa: NPY002 (the global random state is watched here, not used)

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mbrl_split.channels.base import Channel, Realisation
from mbrl_split.errors import InvalidInputError

_SHAPE = (5, 11, 32)
_SEEDS = (3, 1, 4, 1, 5)


def check_channel(channel: Channel) -> None:
    """Run the conformance suite on a channel.

    It checks: shape, dtype and device are kept; finite input gives finite output, all-zero input included; the input is
    left alone; equal seeds give equal bits and a row depends on nothing but its own seed and content; a realisation can
    be reused; no global random state is read or moved; bad shapes and seeds are refused; ``deterministic`` is true.

    Args:
        channel: An instance of your class.

    Raises:
        AssertionError: The first broken promise, in a sentence.
    """
    if not isinstance(channel, Channel):
        raise AssertionError(f"{channel!r} is not a Channel: derive your class from mbrl_split.channels.Channel")
    hidden = torch.from_numpy(np.random.default_rng(0).standard_normal(_SHAPE, dtype=np.float32))
    _check_form(channel, hidden)
    _check_chance(channel, hidden)
    _check_rows(channel, hidden)
    _check_refusals(channel, hidden)


def _promise(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(nan=1.5e30), b.nan_to_num(nan=1.5e30))


def _check_form(channel: Channel, hidden: Tensor) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        sent = hidden.to(dtype)
        before = sent.clone()
        received = channel(sent, seeds=_SEEDS)
        _promise(torch.equal(sent, before), f"the channel changed its input in place ({dtype})")
        _promise(
            (received.shape, received.dtype, received.device) == (sent.shape, sent.dtype, sent.device),
            f"a {dtype} hidden state of shape {tuple(sent.shape)} on {sent.device} came back as {received.dtype}, "
            f"{tuple(received.shape)}, {received.device}: shape, dtype and device are kept",
        )
    for name, sent in (("ordinary", hidden), ("all-zero", torch.zeros_like(hidden))):
        _promise(bool(channel(sent, seeds=_SEEDS).isfinite().all()), f"{name} input gave output that is not finite")
    _promise(channel(hidden[:1], seeds=_SEEDS[:1]).shape == hidden[:1].shape, "a batch of one row changed its shape")


def _check_chance(channel: Channel, hidden: Tensor) -> None:
    drawn = channel.sample(hidden.shape, _SEEDS)
    _promise(isinstance(drawn, Realisation), f"sample returns a Realisation, not {type(drawn).__name__}")
    received = channel(hidden, seeds=_SEEDS)
    _promise(
        _same(channel.apply(hidden, drawn), received),
        "channel(hidden, seeds=s) is not channel.apply(hidden, channel.sample(hidden.shape, s))",
    )
    channel.apply(2 * hidden, drawn)
    _promise(_same(channel.apply(hidden, drawn), received), "a realisation gave another result when it was reused")

    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    try:
        torch.manual_seed(12345)
        np.random.seed(12345)
        before = torch.get_rng_state(), str(np.random.get_state())
        again = channel(hidden, seeds=_SEEDS)
        untouched = torch.equal(before[0], torch.get_rng_state()) and before[1] == str(np.random.get_state())
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
    _promise(_same(again, received), "equal seeds gave different bits: draw from the seeds alone")
    _promise(untouched, "the channel drew from a global random state: draw from the seeds alone")
    if channel.deterministic:
        other = channel(hidden, seeds=[seed + 100 for seed in _SEEDS])
        _promise(_same(other, received), "the channel says it is deterministic, yet other seeds gave another result")


def _check_rows(channel: Channel, hidden: Tensor) -> None:
    received = channel(hidden, seeds=_SEEDS)
    for row in range(len(hidden)):
        alone = channel(hidden[row : row + 1], seeds=_SEEDS[row : row + 1])
        _promise(_same(alone[0], received[row]), f"row {row} is not what it is alone: a row depends on its seed only")
    order = [4, 2, 0, 3, 1]
    shuffled = channel(hidden[order], seeds=[_SEEDS[i] for i in order])
    _promise(_same(shuffled, received[order]), "shuffling the rows changed what happened to them")
    twins = channel(hidden[[1, 1]], seeds=[1, 1])
    _promise(_same(twins[0], twins[1]), "two equal rows with equal seeds came out different")


def _check_refusals(channel: Channel, hidden: Tensor) -> None:
    cases = (
        ("four seeds for five rows", hidden, _SEEDS[:4]),
        ("a negative seed", hidden, (-1, 1, 2, 3, 4)),
        ("a hidden state of two dimensions", hidden[0], _SEEDS),
    )
    for what, sent, seeds in cases:
        try:
            channel(sent, seeds=seeds)
        except InvalidInputError:
            continue
        raise AssertionError(f"{what} was accepted: it should raise mbrl_split.InvalidInputError")
