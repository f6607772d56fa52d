"""Dynamic programming on a finite model given as plain arrays: the only such place in the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.spaces import whole_numbers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TabularModel:
    """A finite Markov decision process.

    Attributes:
        P: Transition probabilities, (S, A, S); or any object whose product with V (S,) has S·A entries in that order,
            such as a sparse matrix (S·A, S). What a row lacks to a sum of one is the probability of ending.
        R: Expected rewards, (S, A).
        mask: True where an action is allowed, (S, A); None allows everything.
        gamma: Discount per step, 0 … 1.

    Raises:
        InvalidInputError: Shapes disagree, a probability is negative, a row sums to more than one, a state without an
            allowed action, or numbers that are not finite.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.agents import TabularModel
        >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])  # action a leads to state a
        >>> model = TabularModel(P, R=np.array([[0.0, -1.0], [-1.0, 2.0]]), gamma=0.9)
        >>> model.q(np.zeros(2))
        array([[ 0., -1.],
               [-1.,  2.]])
    """

    P: Any
    R: NDArray[np.float64]
    mask: NDArray[np.bool_] | None = None
    gamma: float = 1.0

    def __post_init__(self) -> None:
        reward = np.asarray(self.R, dtype=np.float64)
        if reward.ndim != 2 or reward.size == 0:
            raise InvalidInputError(f"R has shape {reward.shape}, expected (states, actions)")
        states, actions = reward.shape
        mask = np.ones(reward.shape, dtype=bool) if self.mask is None else np.asarray(self.mask, dtype=bool)
        if mask.shape != reward.shape:
            raise InvalidInputError(f"mask has shape {mask.shape}, R has {reward.shape}")
        if not mask.any(axis=1).all():
            raise InvalidInputError(f"state {int(np.argmin(mask.any(axis=1)))} allows no action")
        if not np.isfinite(reward[mask]).all():
            raise InvalidInputError("R has entries that are not finite")
        if not 0 <= self.gamma <= 1:
            raise InvalidInputError(f"gamma must lie in 0 … 1, not {self.gamma!r}")
        product = np.asarray(self.P @ np.ones(states))
        if product.size != states * actions:
            raise InvalidInputError(f"P gives {product.size} successors' sums, expected {states}·{actions}")
        product = product.reshape(states, actions)
        if not (product[mask] <= 1 + 1e-9).all() or (isinstance(self.P, np.ndarray) and not (self.P[mask] >= 0).all()):
            raise InvalidInputError("the rows of P must be probabilities that sum to at most one")
        object.__setattr__(self, "R", np.where(mask, reward, 0.0))
        object.__setattr__(self, "mask", mask)

    def q(self, values: Array) -> Array:
        """R + γ·P·V, −∞ where an action is not allowed, (S, A)."""
        expected = np.asarray(self.P @ values, dtype=np.float64).reshape(self.R.shape)
        assert self.mask is not None
        return np.asarray(np.where(self.mask, self.R + self.gamma * expected, -np.inf))


@dataclass(frozen=True)
class TabularPlan:
    """What planning found.

    Attributes:
        values: V, (S,); with a horizon (T + 1, S), row t with T − t steps to go.
        q: Action values, (S, A) or (T, S, A); −∞ where not allowed.
        policy: The best action, the first of equals, (S,) or (T, S).
        error: Bound on |V − V*| in any state; 0 with a horizon.
    """

    values: Array
    q: Array
    policy: NDArray[np.int64]
    error: float = 0.0

    def act(self, states: ArrayLike, t: int = 0) -> NDArray[np.int64]:
        """The best actions in some states (at step ``t``, with a horizon).

        Raises:
            InvalidInputError: A state does not exist.
        """
        table = self.policy if self.policy.ndim == 1 else self.policy[t]
        index = whole_numbers("a state", states)
        if index.size and (index.min() < 0 or index.max() >= len(table)):
            raise InvalidInputError(f"a state lies outside 0 … {len(table) - 1}")
        return np.asarray(table[index])


class Planner:
    """Value iteration and backward induction on a :class:`TabularModel`.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.agents import Planner, TabularModel
        >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])  # action a leads to state a
        >>> model = TabularModel(P, R=np.array([[0.0, -1.0], [-1.0, 2.0]]), gamma=0.9)
        >>> plan = Planner(model).value_iteration()
        >>> plan.policy, np.round(plan.values, 3)
        (array([1, 1]), array([17., 20.]))
    """

    def __init__(self, model: TabularModel) -> None:
        self.model = model

    def value_iteration(self, *, tolerance: float = 1e-8, max_sweeps: int = 100_000) -> TabularPlan:
        """The optimal stationary policy; stops when |V − V*| ≤ ``tolerance`` for certain (γ/(1 − γ)·last change).

        Raises:
            InvalidInputError: γ = 1 (use a horizon), or no convergence within ``max_sweeps``.
        """
        values, error = self._iterate(lambda v: self.model.q(v).max(axis=1), tolerance, max_sweeps)
        q = self.model.q(values)
        return TabularPlan(values, q, q.argmax(axis=1), error)

    def finite_horizon(self, horizon: int, *, final: ArrayLike | None = None) -> TabularPlan:
        """The optimal policy for ``horizon`` steps, by backward induction.

        Args:
            horizon: Steps T.
            final: Value of each state after the last step, (S,); zero by default.
        """
        states, actions = self.model.R.shape
        values, q = np.zeros((horizon + 1, states)), np.zeros((horizon, states, actions))
        if final is not None:
            values[horizon] = final
        for t in range(horizon - 1, -1, -1):
            q[t] = self.model.q(values[t + 1])
            values[t] = q[t].max(axis=1)
        return TabularPlan(values, q, q.argmax(axis=2))

    def policy_value(
        self, policy: ArrayLike, *, horizon: int | None = None, tolerance: float = 1e-8, max_sweeps: int = 100_000
    ) -> Array:
        """The value of following a policy, (S,), for ``horizon`` steps or for ever.

        Args:
            policy: Actions (S,); probabilities (S, A); or with a horizon actions (T, S).
            horizon: Steps; None discounts for ever.
            tolerance: Largest error when there is no horizon.
            max_sweeps: When to give up.

        Raises:
            InvalidInputError: The policy takes an action that is not allowed, γ = 1 without a horizon, or no
                convergence.
        """
        if horizon is not None:
            values = np.zeros(len(self.model.R))
            given = np.asarray(policy)
            timed = given.shape == (horizon, len(values)) and given.dtype.kind in "iu"
            for t in range(horizon - 1, -1, -1):
                values = self._follow(self._weights(given[t] if timed else given), values)
            return values
        weights = self._weights(np.asarray(policy))
        return self._iterate(lambda v: self._follow(weights, v), tolerance, max_sweeps)[0]

    def _iterate(self, sweep: Callable[[Array], Array], tolerance: float, max_sweeps: int) -> tuple[Array, float]:
        """The fixed point of a sweep that contracts by γ, and a bound on its error."""
        gamma = float(self.model.gamma)
        if gamma >= 1:
            raise InvalidInputError("without a horizon gamma must be below 1")
        values = np.zeros(len(self.model.R))
        for _ in range(max_sweeps):
            new = sweep(values)
            error = gamma / (1 - gamma) * float(np.abs(new - values).max())
            values = new
            if error <= tolerance:
                return values, error
        raise InvalidInputError(f"the values are still off by {error:.3g} after {max_sweeps} sweeps")

    def _follow(self, weights: Array, values: Array) -> Array:
        # Selection, not multiplication: 0·(−∞) of a forbidden action is not a number.
        return np.asarray((weights * np.where(weights > 0, self.model.q(values), 0.0)).sum(axis=1))

    def _weights(self, policy: NDArray[Any]) -> Array:
        """Probabilities (S, A) of a policy, checked."""
        states, actions = self.model.R.shape
        weights: Array
        if policy.shape == (states,):
            if policy.min() < 0 or policy.max() >= actions:
                raise InvalidInputError(f"the policy takes an action outside 0 … {actions - 1}")
            weights = np.eye(actions)[policy]
        elif policy.shape == (states, actions) and np.allclose(policy.sum(axis=1), 1):
            weights = policy.astype(np.float64)
        else:
            raise InvalidInputError(
                f"a policy has shape ({states},) or ({states}, {actions}) with rows that sum to one"
            )
        assert self.model.mask is not None
        if (weights[~self.model.mask] > 0).any():
            raise InvalidInputError("the policy takes an action that is not allowed")
        return weights
