"""Policies without learning: what a predicted number, or a rule, says is best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import UnsupportedError
from mbrl_split.interaction import Policy
from mbrl_split.refresh import RewardFunction

Array = NDArray[np.float64]


class ArgmaxPolicy(Policy):
    """Takes the action with the highest composed reward, as a prediction of the costly number has it.

    It looks no further than this step.

    Args:
        reward_function: The reward, and what each action would measure.
        predict: Queries (n, d) → predicted measurements (n,); asked anew at every call, so a refit is seen at once.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.evaluation import ArgmaxPolicy
        >>> from mbrl_split.refresh import RewardFunction
        >>> columns = (Column("level", "1", 0, 2, "ordinal"), Column("load", "1", 0, 2))
        >>> queries = lambda obs: np.stack([np.column_stack([np.full(len(obs), a), obs]) for a in range(3)], axis=1)
        >>> reward = RewardFunction(columns, reward=lambda y, X: -y, queries=queries)
        >>> policy = ArgmaxPolicy(reward, predict=lambda X: np.abs(X[:, 0] - X[:, 1]))
        >>> policy.act([[0.2], [1.9]])
        array([0, 2])
    """

    def __init__(self, reward_function: RewardFunction, predict: Callable[[Array], Array]) -> None:
        self.reward_function, self.predict = reward_function, predict
        self._rows = _Rows(reward_function)

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        rows, single = self._rows(obs)
        n, k, d = rows.shape
        flat = rows.reshape(n * k, d)
        reward = np.asarray(self.reward_function.reward(np.asarray(self.predict(flat)), flat)).reshape(n, k)
        if mask is not None:
            reward = np.where(np.atleast_2d(np.asarray(mask, dtype=np.bool_)), reward, -np.inf)
        best = reward.argmax(axis=1)
        return np.asarray(best[0] if single else best)


class RulePolicy(Policy):
    """A rule from contexts to values of the action column, in the seat of a policy.

    Args:
        reward_function: What each action would measure, from which the context is read.
        rule: Contexts (n, columns − 1) → values of the action column (n,).
    """

    def __init__(self, reward_function: RewardFunction, rule: Callable[[Array], ArrayLike]) -> None:
        self.rule, self._action = rule, reward_function.action
        self._rows = _Rows(reward_function)

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        rows, single = self._rows(obs)
        wanted = np.asarray(self.rule(np.delete(rows[:, 0], self._action, axis=1)), dtype=np.float64)
        nearest = np.abs(rows[:, :, self._action] - wanted[:, None]).argmin(axis=1)
        return np.asarray(nearest[0] if single else nearest)


class _Rows:
    """What each action would measure in one observation or a batch, (n, actions, d), and whether it was one."""

    def __init__(self, reward_function: RewardFunction) -> None:
        if reward_function.queries is None:
            raise UnsupportedError(
                "a look-up needs to know what each action would measure: RewardFunction(queries=...)"
            )
        self._queries, self._ndim = reward_function.queries, reward_function.observation_ndim

    def __call__(self, obs: ArrayLike) -> tuple[Array, bool]:
        x = np.asarray(obs)
        single = x.ndim == self._ndim
        return np.asarray(self._queries(x[None] if single else x), dtype=np.float64), single
