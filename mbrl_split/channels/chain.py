"""Several channels, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike
from torch import Tensor

from mbrl_split.channels.base import Channel, Realisation, check_hidden, check_seeds, check_shape
from mbrl_split.channels.streams import part_seeds
from mbrl_split.errors import InvalidInputError


class Chain(Channel):
    """Channels in the order of the transmission: ``Chain(Quantize(8), Radio(0.5))`` quantises, then sends.

    Chains inside a chain are flattened. If only one part is random it gets the row's seed itself, so quantising
    before a radio link leaves the noise as it was; several random parts get independent seeds.

    Attributes:
        parts: The channels, first to last.

    Raises:
        InvalidInputError: No parts, or one that is not a channel.

    Example:
        >>> import torch
        >>> from mbrl_split.channels import Chain, Quantize, Radio
        >>> hidden = torch.ones(2, 3, 4)
        >>> sent = Chain(Quantize(bits=8), Radio(noise_std=0.1))
        >>> sent(hidden, seeds=[0, 1]).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, *parts: Channel) -> None:
        for part in parts:
            if not isinstance(part, Channel):
                raise InvalidInputError(f"a chain is made of channels, not {part!r}")
        flat = [inner for part in parts for inner in (part.parts if isinstance(part, Chain) else (part,))]
        if not flat:
            raise InvalidInputError("a chain has at least one channel; for a perfect link use Identity()")
        self.parts: tuple[Channel, ...] = tuple(flat)
        self.deterministic = all(part.deterministic for part in flat)

    def sample(self, shape: Sequence[int], seeds: ArrayLike) -> Realisation:
        seeds = check_seeds(seeds, check_shape(shape)[0])
        alone = sum(not part.deterministic for part in self.parts) <= 1
        return Realisation(
            parts=tuple(
                part.sample(shape, seeds if alone or part.deterministic else part_seeds(seeds, i))
                for i, part in enumerate(self.parts)
            )
        )

    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        check_hidden(hidden)
        if len(realisation.parts) != len(self.parts):
            raise InvalidInputError(
                f"a chain of {len(self.parts)} needs as many realisations, not {len(realisation.parts)}"
            )
        for channel, drawn in zip(self.parts, realisation.parts, strict=True):
            hidden = channel.apply(hidden, drawn)
        return hidden

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.parts))})"
