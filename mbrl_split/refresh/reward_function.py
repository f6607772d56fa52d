"""What the costly number is for: the part of the decision problem that a reward-aware acquisition needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.columns import Column

Array = NDArray[np.float64]


def free_of_charge(X: Array) -> Array:
    """Every row costs the same."""
    return np.ones(len(X))


@dataclass(frozen=True)
class RewardFunction:
    """How a predicted number turns into a reward, row by row.

    Attributes:
        columns: What the columns of a query mean.
        reward: ``reward(number, X)``: numbers of shape (n,) or (draws, n) for the rows of ``X`` (n, d); same shape out.
            Monotone in the number.
        cost: What measuring each row costs, in any unit, (n,).
        action: Index of the column that the agent chooses; the other columns are the context.
        queries: Observations (n, …) → what each action would measure in them, (n, actions, d); None where an
            observation does not tell.
        observation_ndim: Dimensions of one observation; a batch has one more.
        first_action: The environment's action that comes first in ``queries``: ``start`` of its Discrete space.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.refresh import RewardFunction
        >>> columns = (Column("level", "1", 1, 11, "ordinal"), Column("load", "kW", 0.05, 1.0, "log"))
        >>> reward_function = RewardFunction(columns, reward=lambda wear, X: -3 * wear + 1 - X[:, 0] / 12)
        >>> reward_function.reward(np.array([0.1]), np.array([[6.0, 0.5]]))
        array([0.2])
    """

    columns: tuple[Column, ...]
    reward: Callable[[Array, Array], Array]
    cost: Callable[[Array], Array] = free_of_charge
    action: int = 0
    queries: Callable[[NDArray[Any]], Array] | None = None
    observation_ndim: int = 1
    first_action: int = 0

    def unit(self, X: Array) -> Array:
        """The rows in the unit cube, each column along its own scale."""
        return np.stack([c.to_unit(X[:, j]) for j, c in enumerate(self.columns)], axis=1)

    def contexts(self, X: Array) -> NDArray[np.int64]:
        """A label 0 … C−1 per row; rows of one context share it."""
        labels = np.unique(np.delete(X, self.action, axis=1), axis=0, return_inverse=True)[1]
        return labels.reshape(-1).astype(np.int64)


def best_in_context(reward: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row with the highest reward in every context; ``reward`` (n,), ``labels`` 0 … C−1; returns (C,)."""
    order = np.lexsort((-reward, labels))
    first = np.searchsorted(labels[order], np.arange(labels.max() + 1))
    return order[first].astype(np.int64)
