"""Policies without learning: what a predicted number, or a rule, says is best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction import Policy
from mbrl_split.interaction.finite import check_finite
from mbrl_split.interaction.spaces import check_mask
from mbrl_split.refresh import RewardFunction

Array = NDArray[np.float64]


class _Lookup(Policy):
    """Takes the action of most worth; its actions are those of the environment's space, its ``start`` included."""

    def __init__(self, reward_function: RewardFunction) -> None:
        if reward_function.queries is None:
            raise UnsupportedError(
                "a look-up needs to know what each action would measure: RewardFunction(queries=...)"
            )
        self.reward_function = reward_function
        self._queries = reward_function.queries

    @abstractmethod
    def _worth(self, rows: Array) -> Array:
        """What each action is worth, (n, actions), given what it would measure, (n, actions, d)."""

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        x, ndim = np.asarray(obs), self.reward_function.observation_ndim
        if x.ndim not in (ndim, ndim + 1):
            raise InvalidInputError(f"one observation has {ndim} dimensions, a batch {ndim + 1}; not {x.ndim}")
        single = x.ndim == ndim
        worth = self._worth(np.asarray(self._queries(x[None] if single else x), dtype=np.float64))
        allowed = check_mask(mask, *worth.shape)
        best = (worth if allowed is None else np.where(allowed, worth, -np.inf)).argmax(axis=1)
        action = best + self.reward_function.first_action
        return np.asarray(action[0] if single else action)


class ArgmaxPolicy(_Lookup):
    """Takes the action with the highest composed reward, as a prediction of the costly number has it.

    It looks no further than this step.

    Args:
        reward_function: The reward, and what each action would measure.
        predict: Queries (n, d) → predicted measurements (n,); asked anew at every call, so a refit is seen at once.

    Raises:
        UnsupportedError: The reward function does not know what an action would measure.

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
        super().__init__(reward_function)
        self.predict = predict

    def _worth(self, rows: Array) -> Array:
        n, k, d = rows.shape
        flat = rows.reshape(n * k, d)
        reward = np.asarray(self.reward_function.reward(np.asarray(self.predict(flat)), flat), dtype=np.float64)
        check_finite("the predicted reward", reward, advice="nothing can be compared with it")
        return reward.reshape(n, k)


class RulePolicy(_Lookup):
    """A rule from contexts to values of the action column, in the seat of a policy.

    It takes the allowed action whose value is nearest to what the rule wants.

    Args:
        reward_function: What each action would measure, from which the context is read.
        rule: Contexts (n, columns − 1) → values of the action column (n,).

    Raises:
        UnsupportedError: The reward function does not know what an action would measure.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.evaluation import RulePolicy
        >>> from mbrl_split.refresh import RewardFunction
        >>> columns = (Column("level", "1", 0, 2, "ordinal"), Column("load", "1", 0, 2))
        >>> queries = lambda obs: np.stack([np.column_stack([np.full(len(obs), a), obs]) for a in range(3)], axis=1)
        >>> reward = RewardFunction(columns, reward=lambda y, X: -y, queries=queries)
        >>> RulePolicy(reward, rule=lambda load: np.where(load[:, 0] > 1, 2, 0)).act([[0.2], [1.9]])
        array([0, 2])
    """

    def __init__(self, reward_function: RewardFunction, rule: Callable[[Array], ArrayLike]) -> None:
        super().__init__(reward_function)
        self.rule = rule

    def _worth(self, rows: Array) -> Array:
        action = self.reward_function.action
        wanted = np.asarray(self.rule(np.delete(rows[:, 0], action, axis=1)), dtype=np.float64)
        if wanted.shape != (len(rows),):
            raise InvalidInputError(f"a rule gives one value per context, shape ({len(rows)},), not {wanted.shape}")
        check_finite("what the rule wants", wanted, advice="it names a value of the action column")
        return -np.abs(rows[:, :, action] - wanted[:, None])
