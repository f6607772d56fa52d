"""Rows to begin with, and the pool that acquisitions choose from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from mbrl_split.columns import Column

Array = NDArray[np.float64]


def random_design(columns: Sequence[Column], n: int, rng: np.random.Generator) -> Array:
    """``n`` rows uniform along each column's scale, shape (n, len(columns))."""
    return np.stack([c.sample(n, rng) for c in columns], axis=1)


def sobol_design(columns: Sequence[Column], n: int, rng: np.random.Generator) -> Array:
    """``n`` rows of a scrambled Sobol sequence along each column's scale, shape (n, len(columns)).

    An ordinal column gets each of its values in equal shares (its ends too, which rounding would halve).
    """
    power = max(0, int(np.ceil(np.log2(max(1, n)))))
    unit = qmc.Sobol(len(columns), scramble=True, rng=rng).random_base2(power)[:n]
    rows = np.empty((n, len(columns)))
    for j, column in enumerate(columns):
        if column.scale == "ordinal":
            levels = int(column.high - column.low) + 1
            rows[:, j] = column.low + np.minimum(np.floor(unit[:, j] * levels), levels - 1)
        else:
            rows[:, j] = column.from_unit(unit[:, j])
    return rows


def with_all_actions(context: Array, columns: Sequence[Column], action: int = 0) -> Array:
    """Every context with every value of the (ordinal) action column.

    Args:
        context: The other columns, in order, shape (C, len(columns) − 1).
        columns: What the columns of a row mean.
        action: Index of the action's column.

    Returns:
        Rows context by context, shape (C·A, len(columns)).
    """
    levels = np.arange(columns[action].low, columns[action].high + 1)
    rows = np.repeat(context, len(levels), axis=0)
    return np.insert(rows, action, np.tile(levels, len(context)), axis=1)


def design_pool(columns: Sequence[Column], n_contexts: int, rng: np.random.Generator, action: int = 0) -> Array:
    """Fresh random contexts, each with every action; plain random rows where no column is an ordinal action."""
    if columns[action].scale != "ordinal":
        return random_design(columns, n_contexts, rng)
    others = [c for j, c in enumerate(columns) if j != action]
    context = random_design(others, n_contexts, rng) if others else np.empty((1, 0))
    return with_all_actions(context, columns, action)
