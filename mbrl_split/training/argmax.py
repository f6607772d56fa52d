"""The policy without learning: ask the surrogate about every split, take the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.envs import compose_reward, queries
from mbrl_split.envs.rules import drifted
from mbrl_split.errors import BadInput
from mbrl_split.evaluation import towards
from mbrl_split.scenarios import Scenario
from mbrl_split.surrogates import Surrogate

Array = NDArray[np.float64]


class ArgmaxPolicy:
    """Goes to the split with the highest composed reward, as the surrogate predicts it; as fast as moves allow.

    It is a policy on contexts (call it) and acts on observations (``act``), as an agent does. It plans nothing: on the
    way to the best split it does not ask what the way costs.

    Args:
        surrogate: Fitted; asked anew at every call, so a refit is seen at once.
        scenario: Reward, actions, context.
        n_layers: L of the model.

    Raises:
        BadInput: The reference is the start of the episode, which a policy on contexts cannot see.

    Example:
        >>> import numpy as np
        >>> from mbrl_split import scenario
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> from mbrl_split.training import ArgmaxPolicy
        >>> problem, rng = scenario("equalised"), np.random.default_rng(0)
        >>> columns = problem.columns(n_layers=12)
        >>> rows = np.column_stack([c.sample(60, rng) for c in columns])
        >>> surrogate = GPSurrogate().fit(rows, rows[:, 1] / rows[:, 0], columns=columns)
        >>> policy = ArgmaxPolicy(surrogate, problem, 12)
        >>> policy(np.array([[0.05, 1.0], [1.0, 1.0]]), np.array([6, 6]), 0)  # deeper where the noise is loud
        array([1, 6])
    """

    def __init__(self, surrogate: Surrogate, scenario: Scenario, n_layers: int) -> None:
        if scenario.reference == "start":
            raise BadInput("argmax of the surrogate needs the clean reference (scenario field reference='clean')")
        self.surrogate, self.scenario, self.n_layers = surrogate, scenario, n_layers

    def __call__(self, context: Array, split: NDArray[np.int64], step: int = 0) -> NDArray[np.int64]:
        """The best split of each context, shape (n,)."""
        n, splits = len(context), np.arange(1, self.n_layers)
        p = np.tile(splits, n)
        there = drifted(self.scenario, np.repeat(context, len(splits), axis=0), p - np.repeat(split, len(splits)))
        damage = self.surrogate.predict(queries(p, there)).mean.reshape(n, -1)
        return np.asarray(splits[compose_reward(damage, splits, self.n_layers, self.scenario.reward).argmax(axis=1)])

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        """Actions of the environment for one observation (shape ()) or a batch (shape (n,))."""
        rows = np.atleast_2d(np.asarray(obs, dtype=np.float64))
        columns = self.scenario.context
        # Observations are single precision: what a rounding took beyond an end is brought back.
        context = np.column_stack(
            [np.clip(c.from_unit(np.clip(rows[:, j], 0, 1)), c.low, c.high) for j, c in enumerate(columns)]
        )
        split = self.scenario.columns(self.n_layers)[0].from_unit(rows[:, len(columns)]).astype(np.int64)
        reached = towards(self.scenario, self.n_layers, split, self(context, split))
        action = reached - 1 if self.scenario.actions == "absolute" else reached - split + self.scenario.max_move
        return action if np.ndim(obs) > 1 else np.asarray(action[0])


def argmax_policy(surrogate: Surrogate, scenario: Scenario, n_layers: int) -> ArgmaxPolicy:
    """See :class:`ArgmaxPolicy`."""
    return ArgmaxPolicy(surrogate, scenario, n_layers)
