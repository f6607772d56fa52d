"""Values of paths: a context held during an episode of T steps, and a reward per split.

Every function takes rewards of shape (contexts, splits) and start splits of shape (contexts,), splits counted from 1,
and is exact: no sampling. ``move`` is the largest step in layers, None where any split can be reached at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import Planner, TabularModel

Array = NDArray[np.float64]
Splits = NDArray[np.int64]


def along(reward: Array, path: Splits) -> Array:
    """Mean reward per step of each context along its path (contexts, T), shape (contexts,)."""
    return np.asarray(np.take_along_axis(reward, path - 1, axis=1).mean(axis=1))


def best_path(reward: Array, start: Splits, steps: int, move: int | None) -> Splits:
    """The path of the highest summed reward in each context, by backward induction, shape (contexts, T)."""
    n, k = reward.shape
    if move is None:
        return np.repeat(reward.argmax(axis=1)[:, None] + 1, steps, axis=1)
    # One finite model for all contexts: state c·k + p − 1, action a moves by a − move and cannot change the context.
    arrival = np.clip(np.arange(k)[:, None] + np.arange(-move, move + 1), 0, k - 1)
    moves = _Moves((np.arange(n)[:, None, None] * k + arrival).reshape(n * k, -1))
    plan = Planner(TabularModel(moves, reward.reshape(-1)[moves.successor])).finite_horizon(steps)
    at = np.arange(n) * k + start - 1
    path = np.empty((n, steps), np.int64)
    for t in range(steps):
        at = moves.successor[at, plan.act(at, t)]
        path[:, t] = at % k + 1
    return path


class _Moves:
    """Transition probabilities of certain moves: the product with values looks up each successor's."""

    def __init__(self, successor: NDArray[np.int64]) -> None:
        self.successor = successor

    def __matmul__(self, values: Array) -> Array:
        return values[self.successor]


def greedy_path(reward: Array, start: Splits, steps: int, move: int | None) -> Splits:
    """Each step to the best split within reach, without looking further, shape (contexts, T)."""
    if move is None:
        return best_path(reward, start, steps, None)
    split = np.arange(reward.shape[1])
    within = np.abs(split[:, None] - split) <= move
    choice = np.where(within[None], reward[:, None, :], -np.inf).argmax(axis=2)
    path, at, rows = np.empty((len(reward), steps), np.int64), start - 1, np.arange(len(reward))
    for t in range(steps):
        at = choice[rows, at]
        path[:, t] = at + 1
    return path


def direct_path(target: Splits, start: Splits, steps: int, move: int | None) -> Splits:
    """To the target as fast as allowed, then stay, shape (contexts, T)."""
    if move is None:
        return np.repeat(target[:, None], steps, axis=1)
    budget = move * np.arange(1, steps + 1)
    distance = (target - start)[:, None]
    return np.asarray(start[:, None] + np.clip(distance, -budget, budget))


def random_value(reward: Array, start: Splits, steps: int, move: int | None) -> Array:
    """Expected mean reward per step under uniformly random actions, shape (contexts,)."""
    n, k = reward.shape
    if move is None:
        return np.asarray(reward.mean(axis=1))
    split = np.arange(k)
    chance = np.zeros((k, k))
    for delta in range(-move, move + 1):  # moves beyond an end are clipped, so the ends collect their probability
        np.add.at(chance, (split, np.clip(split + delta, 0, k - 1)), 1 / (2 * move + 1))
    at = np.eye(k)[start - 1]
    total = np.zeros(n)
    for _ in range(steps):
        at = at @ chance
        total += np.sum(at * reward, axis=1)
    return total / steps
