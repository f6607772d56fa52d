"""Values of paths: a context held during an episode of T steps, and a reward per split.

Every function takes rewards of shape (contexts, splits) and start splits of shape (contexts,), splits counted from 1,
and is exact: no sampling. ``move`` is the largest step in layers, None where any split can be reached at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    reach = _reachable(k, move)
    value = np.zeros((n, k))
    plans = []
    for _ in range(steps):
        # total[c, p] of arriving at p now and going on; choice[c, q] the best arrival from q.
        total = reward + value
        candidates = np.where(reach[None], total[:, None, :], -np.inf)
        plans.append(candidates.argmax(axis=2))
        value = candidates.max(axis=2)
    return _follow(plans[::-1], start)


def greedy_path(reward: Array, start: Splits, steps: int, move: int | None) -> Splits:
    """Each step to the best split within reach, without looking further, shape (contexts, T)."""
    if move is None:
        return best_path(reward, start, steps, None)
    choice = np.where(_reachable(reward.shape[1], move)[None], reward[:, None, :], -np.inf).argmax(axis=2)
    return _follow([choice] * steps, start)


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


def _reachable(k: int, move: int) -> NDArray[np.bool_]:
    split = np.arange(k)
    return np.asarray(np.abs(split[:, None] - split[None]) <= move)


def _follow(plans: list[NDArray[np.int64]], start: Splits) -> Splits:
    at, path = start - 1, []
    rows = np.arange(len(start))
    for plan in plans:
        at = plan[rows, at]
        path.append(at + 1)
    return np.stack(path, axis=1)
