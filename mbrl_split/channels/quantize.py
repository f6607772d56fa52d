"""Quantised transmission: the hidden state is sent in fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mbrl_split.channels.base import Channel, Realisation, check_hidden, check_seeds, check_shape, working_dtype
from mbrl_split.errors import InvalidInputError

_FLOATS = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Quantize(Channel):
    """Round to integers with a shared scale, or to a shorter float.

    Integers are symmetric: q = round(x/s) in −Q … Q with Q = 2^(bits−1) − 1 and s = max|x|/Q, so the error is at most
    s/2. The scale is sent exactly. One scale per token stands massive activations, one per tensor does not: a single
    huge coordinate then rounds every other token to zero. Shorter floats have no scale and saturate at their largest
    finite value.

    Attributes:
        bits: 16, 8 or 4 (integers; anything from 2 to 16 works), ``"fp16"`` or ``"bf16"``.
        scale: ``"token"`` or ``"tensor"`` (all tokens of a batch row). Without effect on floats.

    Raises:
        InvalidInputError: Unknown bits or scale.

    Example:
        >>> import torch
        >>> from mbrl_split.channels import Quantize
        >>> hidden = torch.tensor([[[-1.0, 0.03, 0.5, 1.0]]])
        >>> Quantize(bits=4)(hidden, seeds=[0])  # seven steps on either side
        tensor([[[-1.0000,  0.0000,  0.4286,  1.0000]]])
    """

    bits: int | Literal["fp16", "bf16"] = 8
    scale: Literal["token", "tensor"] = "token"
    deterministic = True

    def __post_init__(self) -> None:
        integer = isinstance(self.bits, int) and 2 <= self.bits <= 16
        if not integer and self.bits not in _FLOATS:
            raise InvalidInputError(f"bits is an integer from 2 to 16, 'fp16' or 'bf16', not {self.bits!r}")
        if self.scale not in ("token", "tensor"):
            raise InvalidInputError(f"scale is 'token' or 'tensor', not {self.scale!r}")

    def sample(self, shape: Sequence[int], seeds: ArrayLike) -> Realisation:
        check_seeds(seeds, check_shape(shape)[0])
        return Realisation()

    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        check_hidden(hidden)
        x = hidden.to(working_dtype(hidden.dtype))
        if isinstance(self.bits, str):
            short = _FLOATS[self.bits]
            largest = torch.finfo(short).max
            return x.clamp(-largest, largest).to(short).to(hidden.dtype)
        levels = 2 ** (self.bits - 1) - 1
        peak = x.abs().amax(dim=-1 if self.scale == "token" else (-2, -1), keepdim=True)
        step = peak / levels
        step = torch.where(step > 0, step, 1)  # nothing but zeros (or less than a float can divide): any step will do
        return ((x / step).round() * step).to(hidden.dtype)
