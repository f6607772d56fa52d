"""Random streams: what a row draws follows from its seed and the purpose of the draw, and from nothing else.

Everything is drawn by numpy on the CPU, so that CPU and GPU, any dtype and any batch see the same numbers, and one
row's stream is sequential: the first tokens of a longer transmission see what a shorter one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Seeds = NDArray[np.uint64]


class Purpose(IntEnum):
    """What a stream is for; two purposes of one seed are independent."""

    GAIN = 1
    NOISE = 2
    LOSS = 3
    PART = 4  # 4, 5, 6, … are the parts of a chain


def _sequence(seed: int, purpose: int) -> np.random.SeedSequence:
    # Always three 32-bit words: no two (seed, purpose) pairs can spell the same entropy.
    return np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32, purpose])


def _generators(seeds: Seeds, purpose: Purpose) -> Iterator[np.random.Generator]:
    for seed in seeds.tolist():
        yield np.random.Generator(np.random.SFC64(_sequence(seed, purpose)))


def uniforms(seeds: Seeds, purpose: Purpose, n: int) -> NDArray[np.float64]:
    """Uniforms on [0, 1), shape (len(seeds), n)."""
    out = np.empty((len(seeds), n))
    for row, rng in zip(out, _generators(seeds, purpose), strict=True):
        rng.random(out=row)
    return out


def normals(seeds: Seeds, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, float32, shape (len(seeds), *shape): a function of the seeds alone."""
    out = np.empty((len(seeds), *shape), np.float32)
    for row, rng in zip(out, _generators(seeds, Purpose.NOISE), strict=True):
        rng.standard_normal(out=row, dtype=np.float32)
    return torch.from_numpy(out)


def part_seeds(seeds: Seeds, part: int) -> Seeds:
    """Independent seeds for the ``part``-th random member of a chain."""
    children = [_sequence(seed, Purpose.PART + part).generate_state(1, np.uint64)[0] for seed in seeds.tolist()]
    return np.array(children, np.uint64)
