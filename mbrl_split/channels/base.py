"""The contract of a channel: what the radio does to the hidden state that crosses the cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mbrl_split.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class Realisation:
    """What chance did to one batch of transmissions: to look at, to reuse, or to make by hand.

    Array-likes are accepted and converted. What a channel does not need stays ``None``. To replay a realisation with
    other gains use ``dataclasses.replace(realisation, gains=[[0.5], [1.0]])``.

    Attributes:
        gains: Amplitude gains |h|, float64: (batch, 1) for block fading, (batch, tokens) for fast fading,
            (batch, packets) for packets that fade one by one.
        noise_seeds: One seed per row, (batch,), from which the standard normal noise follows.
        keep: What arrives, boolean, (batch, tokens, d) or (batch, tokens, 1).
        parts: The members' realisations, for a chain.

    Example:
        >>> import torch
        >>> from mbrl_split.channels import Radio, Rayleigh, Realisation
        >>> radio, hidden = Radio(noise_std=0.0, fading=Rayleigh()), torch.ones(2, 3, 4)
        >>> by_hand = Realisation(gains=[[0.5], [2.0]], noise_seeds=[0, 1])
        >>> radio.apply(hidden, by_hand)[:, 0, 0]
        tensor([0.5000, 2.0000])
    """

    gains: Tensor | None = None
    noise_seeds: NDArray[np.uint64] | None = None
    keep: Tensor | None = None
    parts: tuple[Realisation, ...] = ()

    def __post_init__(self) -> None:
        if self.gains is not None:
            gains = torch.as_tensor(self.gains, dtype=torch.float64)
            if gains.ndim != 2:
                raise InvalidInputError(f"gains have shape (batch, 1) or (batch, tokens), not {tuple(gains.shape)}")
            if not bool(((gains >= 0) & gains.isfinite()).all()):
                raise InvalidInputError("gains are amplitudes: finite and at least 0")
            object.__setattr__(self, "gains", gains)
        if self.noise_seeds is not None:
            noise_seeds = np.asarray(self.noise_seeds)
            object.__setattr__(self, "noise_seeds", check_seeds(noise_seeds, noise_seeds.size))
        if self.keep is not None:
            keep = torch.as_tensor(self.keep)
            if keep.dtype != torch.bool or keep.ndim != 3:
                raise InvalidInputError(
                    "keep is boolean with shape (batch, tokens, d) or (batch, tokens, 1), "
                    f"not {keep.dtype} with {tuple(keep.shape)}"
                )
            object.__setattr__(self, "keep", keep)

    @property
    def block_gains(self) -> NDArray[np.float64] | None:
        """The one gain of each row, (batch,); None where there is none, or where a row has several."""
        if self.gains is not None:
            return self.gains[:, 0].cpu().numpy() if self.gains.shape[1] == 1 else None
        inner = [part for part in self.parts if part.gains is not None or part.parts]
        return inner[0].block_gains if len(inner) == 1 else None


class Channel(ABC):
    """Changes a hidden state as a transmission would.

    A row of the batch is one transmission with its own seed: what happens to it depends on its seed and its content
    alone, never on the rows beside it. Write a channel of your own by implementing :meth:`sample` and :meth:`apply`;
    ``mbrl_split.testing.check_channel`` tells whether it keeps the contract.

    Attributes:
        deterministic: True where the seeds do not matter.
    """

    deterministic: bool = False

    @abstractmethod
    def sample(self, shape: Sequence[int], seeds: ArrayLike) -> Realisation:
        """Draw what chance does to a hidden state of the given shape.

        Args:
            shape: (batch, tokens, d).
            seeds: One non-negative integer per batch row. Equal seeds give common random numbers: the same standard
                normal noise whatever σ, split and fading; gains that rise and fall together across fading laws;
                losses that are nested across loss rates.

        Raises:
            InvalidInputError: The shape or the seeds are not as above.
        """

    @abstractmethod
    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        """What the receiver sees of ``hidden``, (batch, tokens, d) → the same shape, dtype and device.

        The input is left as it is. Without chance the function is deterministic: a realisation can be reused and
        given by the user.

        Raises:
            InvalidInputError: ``hidden`` is no floating tensor of three dimensions, or the realisation does not fit it.
        """

    def __call__(self, hidden: Tensor, *, seeds: ArrayLike) -> Tensor:
        """Sample and apply."""
        check_hidden(hidden)
        return self.apply(hidden, self.sample(hidden.shape, seeds))


def check_seeds(seeds: ArrayLike, batch: int) -> NDArray[np.uint64]:
    """The seeds as uint64 of shape (batch,).

    Raises:
        InvalidInputError: Not one non-negative integer per batch row.
    """
    given = np.asarray(seeds)
    if given.shape != (batch,):
        raise InvalidInputError(
            f"a batch of {batch} rows needs {batch} seeds, one per row; the seeds have shape {given.shape}"
        )
    if batch and (given.dtype.kind not in "iu" or int(given.min()) < 0):
        raise InvalidInputError(f"seeds are non-negative integers, not {given.tolist()}")
    return given.astype(np.uint64)


def check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """The shape as (batch, tokens, d).

    Raises:
        InvalidInputError: Not three sizes.
    """
    if len(shape) != 3:
        raise InvalidInputError(f"a hidden state has shape (batch, tokens, d), not {tuple(shape)}")
    batch, tokens, d = (int(n) for n in shape)
    return batch, tokens, d


def check_hidden(hidden: Tensor) -> tuple[int, int, int]:
    """The shape (batch, tokens, d) of a floating hidden state.

    Raises:
        InvalidInputError: Not three dimensions, or not floating point.
    """
    if not hidden.is_floating_point():
        raise InvalidInputError(f"a hidden state is floating point, not {hidden.dtype}")
    return check_shape(hidden.shape)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half precision is computed in float32; the result is rounded once, at the end."""
    return torch.float64 if dtype == torch.float64 else torch.float32
