"""Policies without learning: a rule from contexts to splits, above all the best predicted split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Policy
from mbrl_split.layer_split.envs.rules import build_inputs, compose_reward, drifted
from mbrl_split.layer_split.judging.policy import SplitPolicy, clip_move
from mbrl_split.layer_split.scenarios import Scenario

Array = NDArray[np.float64]


class SplitRule(Policy):
    """Goes to the split that a rule names, as fast as moves allow.

    It is a policy on contexts (call it) and acts on observations (``act``), as an agent does. In a session it reads the
    context off the observation.

    Args:
        scenario: Actions and context.
        n_layers: L of the model.
        rule: (contexts (n, columns), current splits (n,), step) → wanted splits (n,), 1 … L−1.
    """

    def __init__(self, scenario: Scenario, n_layers: int, rule: SplitPolicy) -> None:
        self.scenario, self.n_layers, self._rule = scenario, n_layers, rule

    def __call__(self, context: Array, split: NDArray[np.int64], step: int = 0) -> NDArray[np.int64]:
        """The wanted split of each context, shape (n,)."""
        return self._rule(context, split, step)

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        """Actions of the environment for one observation (shape ()) or a batch (shape (n,))."""
        rows = np.clip(np.atleast_2d(np.asarray(obs, dtype=np.float64)), 0.0, 1.0)
        columns = self.scenario.context
        # Observations are single precision: what a rounding took beyond an end is brought back.
        context = np.column_stack([np.clip(c.from_unit(rows[:, j]), c.low, c.high) for j, c in enumerate(columns)])
        split = self.scenario.columns(self.n_layers)[0].from_unit(rows[:, len(columns)]).astype(np.int64)
        reached = clip_move(self.scenario, self.n_layers, split, self(context, split))
        action = reached - 1 if self.scenario.actions == "absolute" else reached - split + self.scenario.max_move
        return action if np.ndim(obs) > 1 else np.asarray(action[0])


def argmax_policy(predict: Callable[[Array], Array], scenario: Scenario, n_layers: int) -> SplitRule:
    """Goes to the split with the highest composed reward, as a prediction of the damage has it.

    It plans nothing: on the way to the best split it does not ask what the way costs.

    Args:
        predict: Queries (n, 1 + columns) → predicted damage (n,), nats/token; asked anew at every call, so a refit
            surrogate is seen at once.
        scenario: Reward, actions, context.
        n_layers: L of the model.

    Raises:
        InvalidInputError: The reference is the start of the episode, which a policy on contexts cannot see.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.layer_split import argmax_policy, scenario
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> problem, rng = scenario("equalised"), np.random.default_rng(0)
        >>> columns = problem.columns(n_layers=12)
        >>> rows = np.column_stack([c.sample(60, rng) for c in columns])
        >>> surrogate = GPSurrogate().fit(rows, rows[:, 1] / rows[:, 0], columns=columns)
        >>> policy = argmax_policy(lambda X: surrogate.predict(X).mean, problem, 12)
        >>> policy(np.array([[0.05, 1.0], [1.0, 1.0]]), np.array([6, 6]))  # deeper where the noise is loud
        array([1, 6])
    """
    if scenario.reference == "start":
        raise InvalidInputError("argmax of a prediction needs the clean reference (scenario field reference='clean')")
    splits = np.arange(1, n_layers)

    def rule(context: Array, split: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        p = np.tile(splits, len(context))
        moved = p - np.repeat(split, len(splits))
        there = drifted(scenario, np.repeat(context, len(splits), axis=0), moved)
        damage = np.asarray(predict(build_inputs(p, there))).reshape(len(context), -1)
        return np.asarray(splits[compose_reward(damage, splits, n_layers, scenario.reward).argmax(axis=1)])

    return SplitRule(scenario, n_layers, rule)
