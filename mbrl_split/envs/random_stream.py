"""Random numbers for a batch of sub-environments: each row has its own stream, and no row costs a Python loop.

A generator object per sub-environment would cost a Python call per row and step, and one generator for the whole batch
would make a row's numbers depend on its neighbours. A counter-based generator needs neither: a number is a function of
(key of the row, episode, step, position), computed for all rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mbrl_split.errors import InvalidInputError

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))

Words = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


def philox(counter: Words, key: tuple[NDArray[np.uint64], NDArray[np.uint64]]) -> Words:
    """Philox-4x32-10 of Salmon et al., *Parallel random numbers: as easy as 1, 2, 3* (SC 2011), elementwise.

    Args:
        counter: Four arrays of 32-bit words (held in 64 bits), of shapes that broadcast.
        key: Two arrays of 32-bit words.

    Returns:
        Four arrays of random 32-bit words, held in 64 bits.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def spread_seeds(seed: int | Sequence[int | None] | None, n: int) -> list[int | None]:
    """One seed per sub-environment by Gymnasium's rule: s gives s, s + 1, …; a list is taken as it is; None is none.

    Raises:
        InvalidInputError: A seed is negative, or their number is not n.
    """
    if seed is None:
        return [None] * n
    if isinstance(seed, (int, np.integer)):
        seed = [int(seed) + i for i in range(n)]
    seeds = [None if s is None else int(s) for s in seed]
    if len(seeds) != n:
        raise InvalidInputError(f"{len(seeds)} seeds for {n} sub-environments")
    negative = [s for s in seeds if s is not None and s < 0]
    if negative:
        raise InvalidInputError(f"seeds are non-negative integers, not {negative[0]}")
    return seeds


def entropy() -> int:
    """A seed from the system, for a first reset without one."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> np.uint64(1))


def stream_keys(seed: int, consumers: int) -> NDArray[np.uint64]:
    """One Philox key per consumer, spawned from ``SeedSequence(seed)``, shape (consumers, 2)."""
    children = np.random.SeedSequence(seed).spawn(consumers)
    return np.stack([child.generate_state(2, np.uint32) for child in children]).astype(np.uint64)


def to_normal(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers uniform in [0, 1) to standard normal ones, elementwise."""
    # Half a grid step inwards keeps the quantile function away from its poles at 0 and 1.
    return np.asarray(ndtri(u * (1 - 2.0**-53) + 2.0**-54), dtype=np.float64)


class RandomStream:
    """Random numbers of n rows at one moment (episode, step); consecutive calls give fresh numbers.

    Args:
        keys: One Philox key per row, shape (n, 2), from :func:`stream_keys`.
        episode: Episode of each row, shape (n,).
        step: Step of each row within its episode, shape (n,).
    """

    def __init__(self, keys: NDArray[np.uint64], episode: ArrayLike, step: ArrayLike) -> None:
        self._keys = keys
        self._episode = np.asarray(episode).astype(np.uint64)
        self._step = np.asarray(step).astype(np.uint64)
        self._blocks = 0

    def __len__(self) -> int:
        return len(self._keys)

    def _words(self, blocks: int) -> NDArray[np.uint64]:
        """The next 4·blocks words of every row, shape (n, 4·blocks)."""
        position = np.arange(self._blocks, self._blocks + blocks, dtype=np.uint64)[None]
        self._blocks += blocks
        counter = (position, self._step[:, None], self._episode[:, None], np.zeros((1, 1), np.uint64))
        words = philox(counter, (self._keys[:, :1], self._keys[:, 1:]))
        return np.stack(words, axis=-1).reshape(len(self), 4 * blocks)

    def uniform(self, size: int) -> NDArray[np.float64]:
        """Numbers uniform in [0, 1) on a grid of 2⁻⁵³, shape (n, size)."""
        words = self._words(-(-size // 2))
        high, low = words[:, 0::2] >> np.uint64(5), words[:, 1::2] >> np.uint64(6)
        return ((high * 2.0**26 + low) * 2.0**-53)[:, :size]

    def normal(self, size: int) -> NDArray[np.float64]:
        """Standard normal numbers, shape (n, size)."""
        return to_normal(self.uniform(size))

    def integers(self, low: int, high: int, size: int) -> NDArray[np.int64]:
        """Integers uniform in low … high − 1, shape (n, size)."""
        return low + np.floor(self.uniform(size) * (high - low)).astype(np.int64)

    def seeds(self) -> NDArray[np.int64]:
        """One non-negative 63-bit seed per row, shape (n,)."""
        words = self._words(1)
        return (((words[:, 0] << _SHIFT) | words[:, 1]) >> np.uint64(1)).astype(np.int64)
