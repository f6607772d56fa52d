"""Losses: elements, packets or tokens that do not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mbrl_split.channels.base import Channel, Realisation, check_hidden, check_seeds, check_shape
from mbrl_split.channels.conceal import Concealment, conceal
from mbrl_split.channels.fading import Fading
from mbrl_split.channels.packets import packet_count, packet_of_element
from mbrl_split.channels.streams import Purpose, uniforms
from mbrl_split.channels.theory import outage_probability
from mbrl_split.errors import InvalidInputError


@dataclass(frozen=True)
class Erasure(Channel):
    """Each unit is lost with probability p, and what is lost is concealed.

    A unit is lost where its uniform is below p: with equal seeds, what is lost at a small p is lost at a larger one.

    Packets can instead be lost by outage: give ``snr_db`` (average received SNR γ̄), ``threshold_db`` (the least SNR
    γ_th that can be decoded) and a fading law. Then p = P(h²·γ̄ < γ_th), for Nakagami fading the regularised lower
    incomplete gamma function P(m, m·γ_th/γ̄), and the gains are part of the realisation.

    Attributes:
        p: Loss probability of a unit, in [0, 1]. None only in the outage form; :attr:`loss` holds it in both.
        unit: ``"element"``, ``"packet"`` or ``"token"``.
        conceal: What stands in for a lost element: ``"zero"``; ``"previous"``, the same coordinate of the last token
            in which it arrived; ``"mean"``, the mean of that coordinate over the earlier tokens in which it arrived.
            Zero where nothing arrived before. No concealment looks at later tokens.
        mtu: Packet size in elements, header included.
        header: Elements of each packet that are overhead.
        interleave: Spread neighbouring elements over different packets, by a fixed permutation.
        snr_db: Average received SNR per packet in dB.
        threshold_db: Least SNR in dB at which a packet is decoded.
        fading: Law of |h|, with mean power 1; None for a packet lost if and only if γ̄ < γ_th.
        block: In the outage form, False: each packet is its own fading block; True: one block for the whole
            transmission, so packets are lost all together.

    Raises:
        InvalidInputError: p outside [0, 1], an unknown unit or concealment, a packet without payload, or mixed forms.

    Example:
        >>> import torch
        >>> from mbrl_split.channels import Erasure
        >>> hidden = torch.ones(1, 4, 1000)
        >>> received = Erasure(p=0.25)(hidden, seeds=[0])
        >>> bool(abs((received == 0).float().mean() - 0.25) < 0.03)
        True
    """

    p: float | None = None
    unit: Literal["element", "packet", "token"] = "element"
    conceal: Concealment = "zero"
    _: KW_ONLY
    mtu: int = 64
    header: int = 0
    interleave: bool = False
    snr_db: float | None = None
    threshold_db: float = 0.0
    fading: Fading | None = None
    block: bool = False

    def __post_init__(self) -> None:
        if self.unit not in ("element", "packet", "token"):
            raise InvalidInputError(f"unit is 'element', 'packet' or 'token', not {self.unit!r}")
        if self.conceal not in ("zero", "previous", "mean"):
            raise InvalidInputError(f"conceal is 'zero', 'previous' or 'mean', not {self.conceal!r}")
        if not 0 <= self.header < self.mtu:
            raise InvalidInputError(f"a packet of mtu={self.mtu} elements with header={self.header} has no payload")
        if (self.p is None) == (self.snr_db is None):
            raise InvalidInputError("give the loss once: either p or snr_db (with threshold_db and fading)")
        if self.p is not None and not 0 <= self.p <= 1:
            raise InvalidInputError(f"a loss probability p is in [0, 1], not {self.p}")
        if self.snr_db is None:
            if self.fading is not None or self.block:
                raise InvalidInputError("fading and block belong to the outage form: give snr_db instead of p")
            return
        if self.unit != "packet":
            raise InvalidInputError(f"outage loses whole packets: unit='packet', not {self.unit!r}")
        if not (isfinite(self.snr_db) and isfinite(self.threshold_db)):
            raise InvalidInputError(f"snr_db and threshold_db are finite, not {self.snr_db} and {self.threshold_db}")
        if self.fading is not None and self.fading.omega != 1:
            raise InvalidInputError(
                f"snr_db is the average received SNR, so the fading has mean power 1, not omega={self.fading.omega}"
            )

    @property
    def loss(self) -> float:
        """The probability that a unit is lost."""
        if self.p is not None:
            return float(self.p)
        assert self.snr_db is not None
        return float(outage_probability(self.snr_db, self.threshold_db, self.fading))

    def sample(self, shape: Sequence[int], seeds: ArrayLike) -> Realisation:
        batch, tokens, d = check_shape(shape)
        units = {"element": tokens * d, "token": tokens, "packet": packet_count(tokens * d, self.mtu, self.header)}
        u = uniforms(check_seeds(seeds, batch), Purpose.LOSS, 1 if self.block else units[self.unit])
        # The gain is increasing in its uniform, so h²·γ̄ < γ_th is the same event as u < p.
        arrives = torch.from_numpy(u >= self.loss)
        gains = None if self.fading is None else torch.from_numpy(self.fading.ppf(u))
        if self.unit == "packet":
            packets = packet_of_element(tokens * d, self.mtu, self.header, self.interleave)
            arrives = arrives.expand(batch, units["packet"])[:, packets]
        return Realisation(gains=gains, keep=arrives.reshape(batch, tokens, -1))

    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        batch, tokens, d = check_hidden(hidden)
        if realisation.keep is None:
            raise InvalidInputError("the realisation has no keep mask, and this channel loses something")
        if realisation.keep.shape not in ((batch, tokens, d), (batch, tokens, 1)):
            raise InvalidInputError(
                f"a keep mask of shape {tuple(realisation.keep.shape)} does not fit {(batch, tokens, d)}"
            )
        return conceal(hidden, realisation.keep.to(hidden.device), self.conceal)
