"""The radio link: ŷ = h·x + n, and ŷ/h where the receiver knows h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mbrl_split.channels.base import Channel, Realisation, check_hidden, check_seeds, check_shape, working_dtype
from mbrl_split.channels.fading import Fading
from mbrl_split.channels.streams import Purpose, normals, uniforms
from mbrl_split.errors import InvalidInputError

SMALLEST_DIVISOR = 1e-6
"""A receiver that knows h divides by max(h, this): even a gain of exactly 0 gives finite, useless noise (or zeros
where there is no noise). Smaller gains have probability below 1e-6 under every law offered here."""


@dataclass(frozen=True)
class Radio(Channel):
    """Additive Gaussian noise under fading: ŷ = h·x + n per real element, with x the transmitted hidden state.

    Give the noise in one of two ways. ``noise_std=σ`` is the standard deviation of n per real element, in the units
    of the hidden state (``power="absolute"``). ``snr_db`` is the average *received* Es/N0 relative to the power of
    what is sent, per token or per tensor (``power="token"`` or ``"tensor"``). A complex symbol carries two real
    elements: Es is twice the power per real element, N0 is twice the noise variance per real element, hence

        Var n = (mean square of x) · 10^(−snr_db/10) per real element.

    The noise power is fixed at the transmitter, before the fade: a deep fade means a bad SNR. Which convention is
    used decides the best split: deep layers have larger hidden states, which absolute noise hurts less.

    Without knowledge of the gain (``csi="none"``) the model gets the raw ŷ. With it (``csi="receiver"``) it gets ŷ/h,
    that is x + n/h; the division comes last, so a deep fade raises the error. Gains below 1e-6 are divided by 1e-6.
    Half precision is computed in float32 and rounded once (float16 then overflows to inf in extreme fades).

    Attributes:
        noise_std: σ ≥ 0.
        snr_db: Average received Es/N0 in dB.
        power: Reference power of the noise: ``"absolute"``, ``"token"`` (mean square over the d elements of each
            token) or ``"tensor"`` (over all tokens and elements of a batch row).
        fading: Law of |h|, or None for h = 1. With ``snr_db`` its mean power is 1: path loss belongs into the SNR.
        csi: ``"none"`` or ``"receiver"``.
        block: True: one gain per transmission (batch row); False: one per token.
        gain: A fixed gain |h| in place of a fading law. The noise is as for h = 1.

    Raises:
        InvalidInputError: Noise negative or not finite, both or neither of the two ways, or another value out of range.

    Example:
        >>> import torch
        >>> from mbrl_split.channels import Nakagami, Radio
        >>> hidden = torch.randn(8, 128, 512)  # (batch, tokens, width)
        >>> radio = Radio(noise_std=0.5, fading=Nakagami(m=2.0), csi="receiver")
        >>> received = radio(hidden, seeds=range(8))
        >>> bool((radio(hidden, seeds=range(8)) == received).all())  # equal seeds, equal bits
        True
    """

    noise_std: float | None = None
    _: KW_ONLY
    snr_db: float | None = None
    power: Literal["absolute", "token", "tensor"] = "absolute"
    fading: Fading | None = None
    csi: Literal["none", "receiver"] = "none"
    block: bool = True
    gain: float | None = None

    def __post_init__(self) -> None:
        if self.power not in ("absolute", "token", "tensor"):
            raise InvalidInputError(f"power is 'absolute', 'token' or 'tensor', not {self.power!r}")
        if self.csi not in ("none", "receiver"):
            raise InvalidInputError(f"csi is 'none' or 'receiver', not {self.csi!r}")
        if (self.noise_std is None) == (self.snr_db is None):
            raise InvalidInputError("give the noise once: either noise_std or snr_db")
        if self.noise_std is not None:
            if not (isfinite(self.noise_std) and self.noise_std >= 0):
                raise InvalidInputError(f"noise_std is finite and at least 0, not {self.noise_std}")
            if self.power != "absolute":
                raise InvalidInputError(f"noise_std is absolute; with power={self.power!r} give snr_db")
        if self.snr_db is not None:
            if not isfinite(self.snr_db):
                raise InvalidInputError(f"snr_db is finite, not {self.snr_db}")
            if self.power == "absolute":
                raise InvalidInputError("snr_db needs a reference power: power='token' or power='tensor'")
            if self.fading is not None and self.fading.omega != 1:
                raise InvalidInputError(
                    "snr_db is the average received SNR, so the fading has mean power 1, "
                    f"not omega={self.fading.omega}; add 10·log10(omega) to snr_db instead"
                )
        if self.gain is not None:
            if self.fading is not None:
                raise InvalidInputError("give either a fading law or a fixed gain")
            if not (isfinite(self.gain) and self.gain >= 0):
                raise InvalidInputError(f"a gain is an amplitude, finite and at least 0, not {self.gain}")

    def sample(self, shape: Sequence[int], seeds: ArrayLike) -> Realisation:
        batch, tokens, _ = check_shape(shape)
        seeds = check_seeds(seeds, batch)
        gains = None
        if self.gain is not None:
            gains = torch.full((batch, 1), self.gain, dtype=torch.float64)
        elif self.fading is not None:
            u = uniforms(seeds, Purpose.GAIN, 1 if self.block else tokens)
            gains = torch.from_numpy(self.fading.ppf(u))
        return Realisation(gains=gains, noise_seeds=seeds)

    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        batch, tokens, d = check_hidden(hidden)
        x = hidden.to(working_dtype(hidden.dtype))
        h = None
        if realisation.gains is not None:
            if realisation.gains.shape not in ((batch, 1), (batch, tokens)):
                raise InvalidInputError(
                    f"gains of shape {tuple(realisation.gains.shape)} do not fit {batch} rows of {tokens} tokens: "
                    f"expected ({batch}, 1) or ({batch}, {tokens})"
                )
            h = realisation.gains.to(x.device, x.dtype)[:, :, None]
        received = x if h is None else h * x
        if self.noise_std != 0:
            received = self._noise(x, (tokens, d), check_noise_seeds(realisation, batch)).add_(received)
        if h is not None and self.csi == "receiver":
            received = received / h.clamp_min(SMALLEST_DIVISOR)
        return received.to(hidden.dtype)

    def _noise(self, x: Tensor, shape: tuple[int, int], seeds: NDArray[np.uint64]) -> Tensor:
        noise = normals(seeds, shape).to(x.device, x.dtype)
        if self.noise_std is not None:
            return noise.mul_(self.noise_std)
        assert self.snr_db is not None  # __post_init__ saw to it
        power = x.square().mean(dim=-1 if self.power == "token" else (-2, -1), keepdim=True)
        return noise.mul_((power * 10 ** (-self.snr_db / 10)).sqrt_())


def check_noise_seeds(realisation: Realisation, batch: int) -> NDArray[np.uint64]:
    """The realisation's noise seeds, one per row.

    Raises:
        InvalidInputError: They are missing or do not fit the batch.
    """
    if realisation.noise_seeds is None:
        raise InvalidInputError("the realisation has no noise_seeds, and this channel adds noise")
    return check_seeds(realisation.noise_seeds, batch)
