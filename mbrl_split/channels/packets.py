"""How the elements of a transmission are laid into packets."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np
import torch
from torch import Tensor

INTERLEAVER_SEED = 20240602
"""Sender and receiver agree on one permutation per transmission length; it is no part of the chance."""


def packet_count(elements: int, mtu: int, header: int) -> int:
    """Packets that carry ``elements`` when each holds ``mtu`` elements, ``header`` of them overhead."""
    return ceil(elements / (mtu - header))


@lru_cache(maxsize=8)
def packet_of_element(elements: int, mtu: int, header: int, interleave: bool) -> Tensor:
    """Which packet carries each element (token by token, coordinate by coordinate); int64, (elements,).

    Without interleaving, packets are filled in order. With it, elements are first permuted: pseudo-randomly, because a
    regular stride would keep hitting the same coordinate of every token wherever it divides d.
    """
    slots = np.arange(elements)
    if interleave:
        slots = np.random.Generator(np.random.SFC64(INTERLEAVER_SEED)).permutation(elements)
    return torch.from_numpy(slots // (mtu - header))
