"""What a seed draws from a table: windows without replacement, and a uniform for each one's gain.

One numpy generator per row would cost more than the rest of a look-up, so rows are drawn together by a counter-based
generator: SplitMix64 (Steele, Lea and Flood 2014), keyed by the row's seed. A row depends on its own seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ReplayDraws:
    """What n seeds draw.

    Attributes:
        windows: Distinct windows of each row, (n, count).
        u: Uniforms in (0, 1) for the gains, (n, draws, count).
    """

    windows: NDArray[np.int64]
    u: NDArray[np.float64]


def draw(seeds: NDArray[np.int64], n_windows: int, count: int, n_draws: int) -> ReplayDraws:
    """Draw ``count`` of ``n_windows`` windows, every subset alike, and the uniforms.

    Windows and the uniforms of each draw come from streams of their own: a row of more draws repeats the first ones.
    """
    picks = _uniforms(seeds, 0, count)
    windows = np.empty((len(seeds), count), np.int64)
    # Floyd's sampling: pick j is uniform among the first n − count + j + 1, or that last one if it was picked before.
    for j in range(count):
        last = n_windows - count + j
        pick = (picks[:, j] * (last + 1)).astype(np.int64)
        taken = (windows[:, :j] == pick[:, None]).any(axis=1)
        windows[:, j] = np.where(taken, last, pick)
    u = np.stack([_uniforms(seeds, 1 + d, count) for d in range(n_draws)], axis=1)
    return ReplayDraws(windows, u)


def _uniforms(seeds: NDArray[np.int64], stream: int, count: int) -> NDArray[np.float64]:
    """Uniforms in (0, 1), shape (len(seeds), count)."""
    key = _mix(_mix(seeds.astype(np.uint64) + _GAMMA) ^ np.uint64(stream))
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    bits = _mix(key[:, None] + steps) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Arithmetic modulo 2**64 is meant; on arrays numpy wraps without a warning.
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
