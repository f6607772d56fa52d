"""A perfect link."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike
from torch import Tensor

from mbrl_split.channels.base import Channel, Realisation, check_hidden, check_seeds, check_shape


class Identity(Channel):
    """Everything arrives as it was sent.

    Example:
        >>> import torch
        >>> from mbrl_split.channels import Identity
        >>> hidden = torch.ones(1, 2, 4)
        >>> bool((Identity()(hidden, seeds=[0]) == hidden).all())
        True
    """

    deterministic = True

    def sample(self, shape: Sequence[int], seeds: ArrayLike) -> Realisation:
        check_seeds(seeds, check_shape(shape)[0])
        return Realisation()

    def apply(self, hidden: Tensor, realisation: Realisation) -> Tensor:
        check_hidden(hidden)
        return hidden

    def __repr__(self) -> str:
        return "Identity()"
