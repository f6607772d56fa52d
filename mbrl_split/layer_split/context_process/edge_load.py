"""The server's load: a Markov chain over a few utilisations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def load_matrix(levels: int, stay: float) -> Array:
    """Transition probabilities, (levels, levels): stay, else any other level alike. Its stationary law is uniform."""
    if levels == 1:
        return np.ones((1, 1))
    matrix = np.full((levels, levels), (1 - stay) / (levels - 1))
    np.fill_diagonal(matrix, stay)
    return matrix


def next_load(level: ArrayLike, matrix: Array, u: ArrayLike) -> NDArray[np.int64]:
    """The next level of each row by inverse CDF, (n,); ``u`` uniform in [0, 1)."""
    cumulative = np.cumsum(matrix, axis=1)[np.asarray(level)]
    passed: NDArray[np.int64] = (np.asarray(u)[:, None] >= cumulative[:, :-1]).sum(axis=1)
    return passed
